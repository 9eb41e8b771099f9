"""The registries: each maps names to problems, mixtures, modalities, models or hparams sets.

A new item is a new file in the folder of its kind, or in a folder of the user's own (`import_usr_dirs`);
nothing else is edited:

    @registry.problems.register
    class ReverseWords(Problem):
        ...                       # registered as "reverse_words"
"""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2t_lite.errors import UnknownNameError, UserError


class Registry:
    """Names of one kind of thing, and what they stand for.

    Args:
      kind: what one item is called in messages, such as "problem".
      title: what a listing of them is headed with.
      package: the package whose modules register the built-in items; it is imported at the first look-up.
      slow_import: the package imports TensorFlow. `names` and `describe` then read its source instead of
        importing it, so that a listing or a mistyped name is answered at once.
    """

    def __init__(self, kind: str, title: str, package: str, slow_import: bool = False):
        self.kind = kind
        self.title = title
        self._package = package
        self._slow_import = slow_import
        self._items: dict[str, Any] = {}
        self._loaded = False

    def register(self, item: Any = None, *, name: str | None = None) -> Any:
        """Registers a class or function, as `@register` or `@register(name="...")`.

        The name defaults to that of the class or function in snake_case.

        Raises:
          ValueError: the name is taken, or is not made of letters, digits and underscores.
        """
        if item is None:
            return lambda item: self.register(item, name=name)
        name = name or snake_case(item.__name__)
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            raise ValueError(f"{self.kind} name '{name}' must be letters, digits and underscores")
        taken = self._items.get(name)
        if taken is not None:
            raise ValueError(f"{self.kind} '{name}' is already registered, by {_origin(taken)}")
        if self._slow_import and not item.__module__.startswith(self._package) and name in self.describe():
            raise ValueError(f"{self.kind} '{name}' is already registered, in {self._package}")
        self._items[name] = item
        return item

    def get(self, name: str) -> Any:
        """Returns what `name` stands for.

        Raises:
          UnknownNameError: nothing is registered under that name; the text suggests the nearest.
        """
        if name not in self._items:
            self._load()
        if name not in self._items:
            raise UnknownNameError(self.kind, name, self._items)
        return self._items[name]

    def check(self, name: str) -> None:
        """Raises UnknownNameError if `name` is not registered; never imports TensorFlow."""
        if name not in self.describe():
            raise UnknownNameError(self.kind, name, self.describe())

    def __contains__(self, name: str) -> bool:
        return name in self.describe()

    def describe(self) -> dict[str, str]:
        """Returns {name: first line of the docstring}, sorted by name; never imports TensorFlow."""
        found = {}
        if self._slow_import and not self._loaded:
            found = _scan_package(self._package, self.kind)
        else:
            self._load()
        for name, item in self._items.items():
            found[name] = (inspect.getdoc(item) or "").split("\n")[0]
        return dict(sorted(found.items()))

    @contextlib.contextmanager
    def temporary(self) -> Iterator[None]:
        """Forgets, on leaving, whatever was registered inside. For tests."""
        self._load()
        before = dict(self._items)
        try:
            yield
        finally:
            self._items = before

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.walk_packages(package.__path__, self._package + "."):
            importlib.import_module(module.name)


problems = Registry("problem", "Problems", "t2t_lite.problems")
mixtures = Registry("mixture", "Mixtures", "t2t_lite.problems")
hparams_sets = Registry("hparams set", "Hparams sets", "t2t_lite.hparams")
modalities = Registry("modality", "Modalities", "t2t_lite.modalities", slow_import=True)
models = Registry("model", "Models", "t2t_lite.models", slow_import=True)

_INSTANCES = {"modality": "modalities", "model": "models"}


def unknown(kind: str, name: str, *registries: Registry) -> UnknownNameError:
    """The error for a name that none of several registries knows."""
    return UnknownNameError(kind, name, {known for registry in registries for known in registry.describe()})


def import_usr_dirs(folders: Sequence[str]) -> None:
    """Imports every module of the user's own folders, so that what they register is known.

    Raises:
      UserError: a folder is missing or empty, or one of its modules fails; the text carries the module's own error.
    """
    if folders:
        for quick in (problems, mixtures, hparams_sets):
            quick._load()  # so that a user's item of a built-in's name fails at the user's line
    for folder in folders:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise UserError(f"--t2t_usr_dir: no folder '{folder}'")
        modules = sorted(path.glob("*.py"))
        if not modules:
            raise UserError(f"--t2t_usr_dir: no Python file in '{folder}'")
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))  # so that the user's modules can import each other
        for module in modules:
            if module.name != "__init__.py":
                _import_file(module)


def snake_case(name: str) -> str:
    """`ReverseWords` -> `reverse_words`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _import_file(path: Path) -> None:
    loaded = sys.modules.get(path.stem)
    if getattr(loaded, "__file__", None) == str(path):
        return
    if loaded is not None or path.stem in sys.stdlib_module_names:
        raise UserError(f"--t2t_usr_dir: {path}: a module named '{path.stem}' already exists; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[path.stem]
        raise UserError(f"--t2t_usr_dir: {_where(e, path)}: {type(e).__name__}: {e}") from e


def _where(error: BaseException, path: Path) -> str:
    """The last line of the user's own files that the error passed through, as FILE:LINE."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == path.parent]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)


def _origin(item: Any) -> str:
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', type(item).__name__)}"


def _scan_package(package: str, kind: str) -> dict[str, str]:
    """Finds the items that a package registers by reading its source: {name: first line of the docstring}."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    found = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for decorator in node.decorator_list:
                    name = _registered_name(decorator, node.name, _INSTANCES[kind])
                    if name:
                        found[name] = (ast.get_docstring(node) or "").split("\n")[0]
    return found


def _registered_name(decorator: ast.expr, default: str, instance: str) -> str | None:
    """The name that `@registry.INSTANCE.register` or `@registry.INSTANCE.register(name=...)` gives, or None."""
    call = decorator if isinstance(decorator, ast.Call) else None
    target = ast.unparse(call.func if call else decorator)
    if not target.endswith(f"{instance}.register"):
        return None
    for keyword in call.keywords if call else ():
        if keyword.arg == "name":
            return str(ast.literal_eval(keyword.value))
    return snake_case(default)
