"""The registries, which map names to problems, mixtures, metrics, modalities, models, hparams sets and suites.

To add an item, add a file to the folder of its kind or to a folder of your own (`import_usr_dirs`). No list is edited:

    @registry.problems.register
    class ReverseWords(Problem):
        ...                       # registered as "reverse_words"
"""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from t2t_lite.errors import UnknownNameError, UserError
from t2t_lite.tensor2tensor_names import hint

_INIT = "__init__.py"


class Registry:
    """Maps names to items of one kind.

    Args:
      kind: the kind as messages call it, such as "problem".
      title: the heading of a listing.
      package: the package whose modules register the built-in items, or one such module; it is imported at the first
        look-up.
      slow_import: the package imports TensorFlow. `check` and `describe` then parse its source instead of importing
        it, so that a listing or the answer to a misspelled name takes no seconds.
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
        """Returns the item registered under `name`.

        Raises:
          UnknownNameError: there is none; the text suggests similar names.
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
        descriptions = {}
        if self._slow_import and not self._loaded:
            descriptions = _scan_package(self._package, self.kind)
        else:
            self._load()
        for name, item in self._items.items():
            descriptions[name] = (inspect.getdoc(item) or "").split("\n")[0]
        return dict(sorted(descriptions.items()))

    @contextlib.contextmanager
    def temporary(self) -> Iterator[None]:
        """Removes on exit the items that were registered inside the context. For tests."""
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
        for module in pkgutil.walk_packages(getattr(package, "__path__", ()), self._package + "."):
            importlib.import_module(module.name)


problems = Registry("problem", "Problems", "t2t_lite.problems")
mixtures = Registry("mixture", "Mixtures", "t2t_lite.problems")
hparams_sets = Registry("hparams set", "Hparams sets", "t2t_lite.hparams")
metrics = Registry("metric", "Metrics of decoded texts", "t2t_lite.evaluation", slow_import=True)
modalities = Registry("modality", "Modalities", "t2t_lite.modalities", slow_import=True)
models = Registry("model", "Models", "t2t_lite.models", slow_import=True)
suites = Registry("suite", "Suites of experiments", "t2t_lite.experiments.suite")

_REGISTRY_NAMES = {
    "metric": "metrics",
    "modality": "modalities",
    "model": "models",
}  # {kind: name of its registry above}


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 't2t_lite.registry' has no attribute '{name}'{hint('decorator', name)}")


def unknown(kind: str, name: str, *registries: Registry) -> UnknownNameError:
    """Returns the error for a name that is in none of several registries."""
    return UnknownNameError(kind, name, {known for registry in registries for known in registry.describe()})


def import_usr_dirs(folders: Sequence[str]) -> None:
    """Imports all Python files of the user's folders, so that the items they register are known.

    A file is imported under its own name, so that the files can import each other; `__init__.py` comes last, as the
    package that the folder is. Files whose names begin with a dot are skipped.

    Raises:
      UserError: a folder is missing or empty, or a file fails; the text holds the file's own error and its line.
    """
    if folders:
        for registry in (problems, mixtures, hparams_sets):
            registry._load()  # so that an item with the name of a built-in one fails at the user's line
    for folder in folders:
        path = Path(os.path.expanduser(folder)).resolve()
        if not path.is_dir():
            raise UserError(f"--t2t_usr_dir: no folder '{folder}'")
        files = sorted(file for file in path.glob("*.py") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise UserError(f"--t2t_usr_dir: no Python file in '{folder}'")
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
        modules = {file.stem: _import_file(file, file.stem) for file in files if file.name != _INIT}
        if path / _INIT in files:
            package = _package_name(path)
            # Its `from . import NAME` must not execute a file for the second time.
            sys.modules.update({f"{package}.{name}": module for name, module in modules.items()})
            _import_file(path / _INIT, package)


def snake_case(name: str) -> str:
    """`ReverseWords` -> `reverse_words`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _package_name(folder: Path) -> str:
    """The folder's name; with a prefix if it is not an identifier, or the name of another module."""
    loaded = sys.modules.get(folder.name)
    is_other = loaded is not None and getattr(loaded, "__file__", None) != str(folder / _INIT)
    if folder.name.isidentifier() and not is_other and folder.name not in sys.stdlib_module_names:
        return folder.name
    return "usr_dir_" + re.sub(r"\W", "_", folder.name)


def _import_file(path: Path, name: str) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None or name in sys.stdlib_module_names:
        raise UserError(f"--t2t_usr_dir: {path}: a module named '{name}' already exists; rename the file")
    folders = [str(path.parent)] if path.name == _INIT else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        is_old = isinstance(e, ModuleNotFoundError) and (e.name or "").startswith("tensor2tensor")
        advice = "; docs/from-tensor2tensor.md has what to import instead" if is_old else ""
        raise UserError(f"--t2t_usr_dir: {_error_line(e, path)}: {type(e).__name__}: {e}{advice}") from e
    return module


def _error_line(error: BaseException, path: Path) -> str:
    """FILE:LINE of the innermost frame that lies in the user's folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == path.parent]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)


def _origin(item: Any) -> str:
    """MODULE.NAME of a registered class, function or instance."""
    return f"{getattr(item, '__module__', '?')}.{getattr(item, '__qualname__', type(item).__name__)}"


def _scan_package(package: str, kind: str) -> dict[str, str]:
    """Parses a package's source for the items that it registers: {name: first line of the docstring}."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    descriptions = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                for decorator in node.decorator_list:
                    name = _registered_name(decorator, node.name, _REGISTRY_NAMES[kind])
                    if name:
                        descriptions[name] = (ast.get_docstring(node) or "").split("\n")[0]
    return descriptions


def _registered_name(decorator: ast.expr, default: str, registry_name: str) -> str | None:
    """The name that `@registry.REGISTRY.register` or `@registry.REGISTRY.register(name=...)` gives, or None."""
    call = decorator if isinstance(decorator, ast.Call) else None
    target = ast.unparse(call.func if call else decorator)
    if not target.endswith(f"{registry_name}.register"):
        return None
    for keyword in call.keywords if call else ():
        if keyword.arg == "name":
            return str(ast.literal_eval(keyword.value))
    return snake_case(default)
