"""The registries, and the import of the user's own folders."""

import subprocess
import sys

import pytest

from t2t_lite import registry
from t2t_lite.errors import UnknownNameError, UserError, did_you_mean
from t2t_lite.problems import Mixture, Problem, Text
from t2t_lite.problems.problem import get_problem, get_problems


@pytest.fixture(autouse=True)
def _forget():
    path, modules = list(sys.path), set(sys.modules)
    with registry.problems.temporary(), registry.mixtures.temporary(), registry.hparams_sets.temporary():
        yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith("t2t_lite"):
            del sys.modules[name]


def _problem(name, **attributes):
    return type(name, (Problem,), {"inputs": Text(), "targets": Text(), "__module__": __name__, **attributes})


def test_names_default_to_snake_case_and_descriptions_to_docstrings():
    @registry.problems.register
    class ReverseBBCWords(Problem):
        """Words backwards.

        And more.
        """

    registry.problems.register(_problem("Other"), name="my_own")
    assert registry.problems.get("reverse_bbc_words") is ReverseBBCWords
    assert registry.problems.describe()["reverse_bbc_words"] == "Words backwards."
    assert "my_own" in registry.problems and "other" not in registry.problems


def test_a_duplicate_is_refused_and_names_the_first():
    registry.problems.register(_problem("Twice"))
    with pytest.raises(ValueError, match=r"problem 'twice' is already registered, by .*test_registry\.Twice"):
        registry.problems.register(_problem("Twice"))


@pytest.mark.parametrize("name", ["a b", "a,b", "a.b", "1a", "é"])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(ValueError, match="must be"):
        registry.problems.register(_problem("Fine"), name=name)


def test_an_unknown_name_gets_the_most_similar():
    registry.problems.register(_problem("TranslateSigns"))
    with pytest.raises(UnknownNameError, match="unknown problem 'translate_sings'; did you mean 'translate_signs'"):
        registry.problems.get("translate_sings")
    with pytest.raises(UserError, match="unknown problem or mixture 'translate_sings'; did you mean 'translate_signs'"):
        get_problems(["translate_sings"])


@pytest.mark.parametrize("name", ["MyOne", "MY_ONE", "my-one", "myone", "My_Own"])
def test_suggestions_ignore_case_and_separators(name):
    registry.problems.register(_problem("MyOne"))
    with pytest.raises(UnknownNameError, match=f"unknown problem '{name}'; did you mean 'my_one'"):
        registry.problems.get(name)


def test_a_name_without_similar_ones_gets_the_command_that_lists_all():
    with pytest.raises(UnknownNameError, match=r", and \d+ more \(t2t-trainer --registry_help lists them\)$"):
        registry.problems.get("qqqq")
    many = [f"name_{i}" for i in range(20)]
    assert did_you_mean("qqqq", many).endswith(", and 8 more")
    assert did_you_mean("Name-7", many, quote="--{}".format).startswith("; did you mean --name_7")


def test_temporary_removes_on_exit():
    with registry.problems.temporary():
        registry.problems.register(_problem("Brief"))
        assert "brief" in registry.problems
    assert "brief" not in registry.problems


def test_mixtures_open_each_problem_once_in_order():
    for name in ("One", "Two", "Three"):
        registry.problems.register(_problem(name))
    registry.mixtures.register(Mixture({"two": 1, "one": 2}, "Two of them."), name="pair")
    registry.mixtures.register(Mixture({"pair": 1, "three": 1}, "All."), name="all_three")
    assert list(get_problems(["one", "all_three"])) == ["one", "two", "three"]
    assert registry.mixtures.describe()["pair"] == "Two of them."


def test_only_problems_on_the_users_files_have_a_source():
    registry.problems.register(_problem("Files", needs_source=True))
    registry.problems.register(_problem("Plain"))
    assert get_problem("files.my-data").source == "my-data"
    for wrong in ("plain.x", "files.", "files.a/b", "files.."):
        with pytest.raises(UserError, match="--problem"):
            get_problem(wrong)


def test_a_slow_package_is_listed_without_importing_it(tmp_path):
    package = tmp_path / "slow_things"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "one.py").write_text(
        "import no_such_module\nfrom t2t_lite import registry\n\n"
        "@registry.models.register\nclass MyModel:\n    '''Mine.'''\n\n"
        "@registry.models.register(name='short')\nclass Longer:\n    pass\n\n"
        "@registry.modalities.register\nclass NotAModel:\n    pass\n"
    )
    sys.path.insert(0, str(tmp_path))
    models = registry.Registry("model", "Models", "slow_things", slow_import=True)
    assert models.describe() == {"my_model": "Mine.", "short": ""}
    models.check("short")
    with pytest.raises(UnknownNameError, match="did you mean 'my_model'"):
        models.check("my_modle")
    with pytest.raises(ValueError, match="model 'short' is already registered, in slow_things"):
        models.register(_problem("Short"))


USER_PROBLEM = """
from t2t_lite import registry
from t2t_lite.problems import Problem, Text

@registry.problems.register
class {name}(Problem):
    inputs = Text()
    targets = Text()
"""


def test_the_files_of_a_users_folder_are_imported_and_can_import_each_other(tmp_path):
    (tmp_path / "a_usr_problem.py").write_text("import z_usr_words\n" + USER_PROBLEM.format(name="FromUser"))
    (tmp_path / "z_usr_words.py").write_text("WORDS = 3\n")
    registry.import_usr_dirs([str(tmp_path)])
    registry.import_usr_dirs([str(tmp_path)])  # again: nothing happens
    assert "from_user" in registry.problems


class TestInit:
    """__init__.py in a user's folder."""

    @pytest.mark.parametrize("folder", ["usr_package", "my-package", "json"])
    def test_its_items_are_registered(self, tmp_path, folder):
        path = tmp_path / folder
        path.mkdir()
        (path / "__init__.py").write_text(USER_PROBLEM.format(name="InInit"))
        registry.import_usr_dirs([str(path)])
        registry.import_usr_dirs([str(path)])
        assert "in_init" in registry.problems

    @pytest.mark.parametrize("line", ["from . import usr_words", "from usr_relative.usr_words import Words"])
    def test_it_may_import_its_neighbours_which_are_executed_once(self, tmp_path, line):
        path = tmp_path / "usr_relative"
        path.mkdir()
        (path / "__init__.py").write_text(f"{line}\n" + USER_PROBLEM.format(name="InInit"))
        (path / "usr_words.py").write_text(USER_PROBLEM.format(name="Words"))
        registry.import_usr_dirs([str(path)])
        assert "in_init" in registry.problems and "words" in registry.problems

    def test_its_errors_are_shown(self, tmp_path):
        (tmp_path / "__init__.py").write_text("\nfrom . import no_such_file\n")
        with pytest.raises(UserError, match=rf"--t2t_usr_dir: {tmp_path}/__init__\.py:2: ImportError"):
            registry.import_usr_dirs([str(tmp_path)])


def test_files_whose_names_begin_with_a_dot_are_skipped(tmp_path):
    (tmp_path / "._usr_mac.py").write_bytes(b"\x00\x05\x16\x07")  # what macOS writes beside a file
    (tmp_path / "usr_folder.py").mkdir()
    with pytest.raises(UserError, match="no Python file in"):
        registry.import_usr_dirs([str(tmp_path)])
    (tmp_path / "usr_mac.py").write_text(USER_PROBLEM.format(name="FromMac"))
    registry.import_usr_dirs([str(tmp_path)])
    assert "from_mac" in registry.problems


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("x = (\n", 1, "SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        (
            USER_PROBLEM.format(name="Same") + "registry.problems.register(Same)\n",
            9,
            "problem 'same' is already registered",
        ),
    ],
)
def test_a_failing_module_shows_its_own_error_and_line(tmp_path, text, line, message):
    path = tmp_path / "usr_broken.py"
    path.write_text(text)
    with pytest.raises(UserError) as e:
        registry.import_usr_dirs([str(tmp_path)])
    assert f"--t2t_usr_dir: {path}:{line}: " in str(e.value)
    assert message in str(e.value)


def test_an_item_with_a_built_in_name_fails_at_the_users_line(tmp_path):
    (tmp_path / "usr_set.py").write_text(
        "from t2t_lite import registry\n\n\n@registry.hparams_sets.register\ndef multimodel_base():\n    pass\n"
    )
    # In a process of its own, where nothing built in has been looked up yet.
    code = f"from t2t_lite import registry; registry.import_usr_dirs([{str(tmp_path)!r}])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{tmp_path}/usr_set.py:" in run.stderr
    assert "hparams set 'multimodel_base' is already registered" in run.stderr


def test_missing_empty_and_clashing_folders(tmp_path):
    with pytest.raises(UserError, match="--t2t_usr_dir: no folder"):
        registry.import_usr_dirs([str(tmp_path / "none")])
    with pytest.raises(UserError, match="--t2t_usr_dir: no Python file in"):
        registry.import_usr_dirs([str(tmp_path)])
    (tmp_path / "imaplib.py").write_text("")  # a module of Python's own that nothing here has imported
    with pytest.raises(UserError, match="a module named 'imaplib' already exists; rename the file"):
        registry.import_usr_dirs([str(tmp_path)])
    (tmp_path / "imaplib.py").unlink()
    (tmp_path / "json.py").write_text("")
    with pytest.raises(UserError, match=r"json\.py: a module named 'json' already exists; rename the file"):
        registry.import_usr_dirs([str(tmp_path)])
