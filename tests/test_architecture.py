"""Imports between the rooms of the package go one way, and docs/architecture.md draws them as they are."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "t2t_lite"


def imports():
    """{module: the modules of the package that it imports, inside functions too}, as dotted names."""
    paths = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    found = {}
    for module, path in paths.items():
        found[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "t2t_lite":
                base = node.module.split(".")[1:]
                for alias in node.names:
                    name = [*base, alias.name]
                    candidates = [".".join(each) for each in (name, [*name, "__init__"], base, [*base, "__init__"])]
                    found[module].add(next(name for name in candidates if name in paths))
    return found


def room(module):
    """The folder of a module; a module at the top of the package is a room of its own."""
    return module.split(".")[0]


def between_rooms():
    """{room: rooms that it imports}."""
    rooms = {}
    for module, imported in imports().items():
        rooms.setdefault(room(module), set()).update(map(room, imported))
    return {name: others - {name, "__init__"} for name, others in rooms.items() if name != "__init__"}


def test_no_room_imports_one_that_imports_it():
    list(TopologicalSorter(between_rooms()).static_order())  # raises CycleError


def test_no_module_imports_one_that_imports_it():
    list(TopologicalSorter(imports()).static_order())


def test_data_know_nothing_of_models():
    above = {
        "layers",
        "modalities",
        "models",
        "runs",
        "training",
        "decoding",
        "evaluation",
        "serving",
        "monitoring",
        "api",
        "experiments",
        "bin",
    }
    rooms = between_rooms()
    for name in ("media", "problems", "data", "datagen"):
        assert not rooms[name] & above, name
    assert not rooms["hparams"] - {"errors", "registry", "tensor2tensor_names"}
    assert not rooms["registry"] - {"errors", "tensor2tensor_names"}


def test_only_commands_experiments_and_reports_import_the_python_interface():
    importers = {name for name, others in between_rooms().items() if "api" in others}
    assert importers == {"bin", "experiments", "report"}


def test_the_picture_shows_the_imports():
    """Its arrows are those of the imports between folders, less those that follow from the others."""
    rooms = {name: others for name, others in between_rooms().items() if (PACKAGE / name).is_dir()}
    rooms = {name: {other for other in others if other in rooms} for name, others in rooms.items()}

    def reached(name):
        return set().union(*(rooms[other] | reached(other) for other in rooms[name]))

    expected = {
        (name, other)
        for name, others in rooms.items()
        for other in others
        if not any(other in reached(between) | {between} - {other} for between in others - {other})
    }
    picture = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf8").partition("```mermaid")[2].partition("```")[0]
    )
    drawn = set(re.findall(r"^ *(\w+) --> (\w+)$", picture, re.MULTILINE))
    assert drawn == expected, (sorted(expected - drawn), sorted(drawn - expected))


def test_the_files_named_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
    named = set(re.findall(r"`([\w/]+\.py)`", page))
    assert len(named) > 20
    missing = {
        name for name in named if not any((base / name).exists() for base in (PACKAGE, ROOT, PACKAGE / "training"))
    }
    assert not missing
