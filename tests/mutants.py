"""Mutation testing: changes one operator, condition or constant at a time and runs the tests that should notice.

    python tests/mutants.py                      runs a sample of 160 mutants; exit status 1 if under 90 % are caught
    python tests/mutants.py --room=layers        runs those of one folder
    python tests/mutants.py --list               lists the sample and runs nothing
    python tests/mutants.py --count=0 --only=layers/noise.py    runs all mutants whose key contains the text

Mutants are found in the syntax trees of the modules of ROOMS; left out are annotations, messages,
subscripts and axes (any test notices these), and constants that only have to be tiny or huge. The key of a mutant is
`module:function:change:n`, n being the n-th place in the function where this change is possible. The sample takes the
same fraction of every module, in the order of a hash of seed and key: comments, line numbers and changes of other
functions do not alter it.

Each mutant runs in a fork of a process that has imported TensorFlow, in a copy of the repository where the mutated file
replaces the original. It is caught if a test fails or if the tests exceed their time limit.
"""

import argparse
import ast
import collections
import compileall
import contextlib
import dataclasses
import hashlib
import importlib
import os
import py_compile
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "t2t_lite"
LEAST_SCORE = 0.9

# The modules to change, a folder or a file each, and the tests to run: folders or files below tests/, in this order.
ROOMS = {
    "layers": "layers models/test_body.py",
    "modalities": "modalities/test_modalities.py modalities/test_modality_weights.py models/test_multi_model.py",
    "models": "models",
    "training/step.py": "training/test_step.py training/test_devices.py",
    "training/optimizer.py": "training/test_optimizer.py training/test_learning_rates.py",
    "training/schedule.py": "training/test_schedule.py",
    "training/sampler.py": "training/test_mixture.py",
    "training/loss_scale.py": "training/test_loss_scale.py training/test_devices.py",
    "training/mixture.py": "training/test_mixture.py training/test_small_splits.py",
    "decoding": "decoding",
    "evaluation": "evaluation",
}

# Mutants that no test can catch, as they change nothing that is promised: {key: reason}.
_NAME = "a part of a layer's name, on which nothing depends"
_NO_TEXT = "the size of the vocabulary is for text alone"
_STABLE = "TensorFlow has no unstable sort"
_FASTER_TRACE = "changes only how long a graph takes to make"
EQUIVALENT = {
    "layers/layer.py:Layer.__init__:True -> False:0": _FASTER_TRACE,
    "layers/layer.py:_traced:False -> True:0": _FASTER_TRACE,
    "layers/layer.py:_any_length:GtE -> Gt:0": _FASTER_TRACE,
    "layers/layer.py:_any_length:2 -> 3:0": _FASTER_TRACE,
    "layers/noise.py:module:2654435769 -> 2654435770:0": "another stride between the seeds of shards, as good",
    "layers/convolution.py:_near_identity.initialize:Add -> Sub:0": "the noise is symmetric",
    "layers/convolution.py:ConvBlock.__init__:4 -> 5:0": _NAME,
    "layers/experts.py:MixtureOfExperts._run_experts:True -> False:0": _STABLE,
    "modalities/audio.py:Audio.__init__:0 -> 1:0": _NO_TEXT,
    "modalities/categorical.py:Categorical.__init__:0 -> 1:0": _NO_TEXT,
    "modalities/image.py:Image.__init__:0 -> 1:0": _NO_TEXT,
    "training/step.py:TrainStep.__init__:0 -> 1:0": "nothing reads the sums of experts before the first batch",
    "training/step.py:TrainStep.__init__:3 -> 4:0": "nothing reads the sums of experts before the first batch",
    "training/step.py:TrainStep.__init__:0 -> 1:1": "nothing reads the sums of experts before the first batch",
    "training/step.py:TrainStep.try_largest_batch:0 -> 1:0": "a seed of noise in gradients that are dropped",
    "training/optimizer.py:Optimizer._step.apply:True -> False:0": "tf.cond wants a value; nothing reads it",
    "training/optimizer.py:Optimizer._step:False -> True:0": "tf.cond wants a value; nothing reads it",
    "training/schedule.py:learning_rate:Lt -> LtE:0": "where the warm-up ends, both formulas give the peak",
    "decoding/beam_search.py:BeamDecoder._close:Gt -> GtE:0": "log-probabilities are far from NEVER / 2",
    "decoding/beam_search.py:BeamDecoder._close:2 -> 3:0": "log-probabilities are far from NEVER / 2",
    "decoding/beam_search.py:BeamDecoder._answers:True -> False:0": _STABLE,
    "decoding/sampling.py:sample_tokens:Lt -> LtE:1": "differs only if a sum of chances equals top_p to the last bit",
    "decoding/search.py:_fingerprint:1 -> 2:1": "another number for each place, as good",
    "decoding/interactive.py:_arriving_lines:4 -> 5:0": "how many lines are read ahead",
}

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}
# What the forks need not import again.
_IMPORTED_ONCE = ("tensorflow", "keras", "pytest", "sentencepiece", "PIL.Image", "sacrebleu", "jiwer")

_NO_NUMBERS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp, ast.JoinedStr)
_LEFT_OUT = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
_LEFT_OUT_FIELDS = {"annotation", "returns", "decorator_list"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: str  # below the package
    key: str
    line: int
    code: str  # the expression or the condition that is changed

    def source(self) -> str:
        """Returns the changed source of the module."""
        tree = _parse(self.module)
        apply = next(site.apply for key, site in _sites(self.module, tree) if key == self.key)
        apply()
        return ast.unparse(ast.fix_missing_locations(tree)) + "\n"

    def __str__(self) -> str:
        _, function, change, _ = self.key.split(":", 3)
        return f"{self.module}:{self.line}  {change}  in {function}: {self.code}"


# Finding mutants


@dataclasses.dataclass(frozen=True)
class _Site:
    """A place where a change is possible."""

    function: str
    change: str
    line: int
    shown: ast.AST  # the code to show
    apply: Callable[[], None]  # makes the change in the tree


def find_mutants() -> list[Mutant]:
    """Returns all mutants of the modules of ROOMS, in the order of files and lines."""
    mutants = []
    for room in ROOMS:
        path = ROOT / PACKAGE / room
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            module = str(file.relative_to(ROOT / PACKAGE))
            for key, site in _sites(module, _parse(module)):
                code = " ".join(ast.unparse(site.shown).split())
                code = code if len(code) < 90 else code[:87] + "..."
                mutants.append(Mutant(module, key, site.line, code))
    return mutants


def choose(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Returns a sample that has about the same fraction of each module; all mutants if count is 0."""
    if not count:
        return mutants
    modules = collections.defaultdict(list)
    for mutant in mutants:
        modules[mutant.module].append(mutant)
    places = {}
    for of_module in modules.values():
        of_module.sort(key=lambda mutant: hashlib.sha256(f"{seed}:{mutant.key}".encode()).digest())
        places |= {mutant.key: (i + 0.5) / len(of_module) for i, mutant in enumerate(of_module)}
    chosen = set(sorted(places, key=lambda key: (places[key], key))[:count])
    return [mutant for mutant in mutants if mutant.key in chosen]


def _parse(module: str) -> ast.Module:
    return ast.parse((ROOT / PACKAGE / module).read_text(encoding="utf8"))


def _sites(module: str, tree: ast.Module) -> Iterator[tuple[str, _Site]]:
    """Yields each site with the key of its mutant."""
    seen: collections.Counter[str] = collections.Counter()
    for site in _walk(tree, ""):
        prefix = f"{module}:{site.function or 'module'}:{site.change}"
        yield f"{prefix}:{seen[prefix]}", site
        seen[prefix] += 1


def _walk(node: ast.AST, function: str, parent: ast.AST | None = None) -> Iterator[_Site]:
    if _is_left_out(node):
        return
    for change, changed, apply in _changes(node, function):
        shown = parent if isinstance(changed, ast.Constant) and hasattr(parent, "lineno") else changed
        yield _Site(function, change, changed.lineno, shown, apply)
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}".lstrip(".")
    for field, value in ast.iter_fields(node):
        if field in _LEFT_OUT_FIELDS or (isinstance(node, ast.While) and isinstance(value, ast.Constant)):
            continue
        if isinstance(node, ast.Subscript) and field == "slice" and _is_constant(value):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, function, node)


def _is_left_out(node: ast.AST) -> bool:
    """Whether a node holds messages, or code for type checkers alone."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return name in ("print", "print_status", "tell") or name.endswith("Error")
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.keyword):
        return node.arg in ("axis", "axes", "batch_dims", "strict", "trainable")
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__repr__", "__str__")
    return isinstance(node, _LEFT_OUT)


def _changes(node: Any, function: str) -> Iterator[tuple[str, Any, Callable[[], None]]]:
    """Yields for each change of a node: its name, the code that it changes, and a function that makes it."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in _SWAPS:
        is_type = isinstance(node.op, ast.BitOr) and not function  # int | None
        if not is_type and not any(map(_is_no_number, ast.iter_child_nodes(node))):
            yield _name(node.op), node, lambda: setattr(node, "op", _SWAPS[type(node.op)]())
    elif isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            yield _name(op), node, lambda i=i, op=op: node.ops.__setitem__(i, _SWAPS[type(op)]())
    elif isinstance(node, ast.UnaryOp):
        yield f"drop {type(node.op).__name__}", node, lambda: _become(node, node.operand)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        if not isinstance(node.test, ast.Compare | ast.Constant | ast.UnaryOp):  # these are changed by themselves
            yield "negate", node.test, lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.comprehension):
        for i, test in enumerate(node.ifs):
            if not isinstance(test, ast.Compare | ast.UnaryOp):
                yield "negate", test, lambda i=i, test=test: node.ifs.__setitem__(i, ast.UnaryOp(ast.Not(), test))
    elif isinstance(node, ast.Constant) and (other := _other_constant(node.value)) is not None:
        yield f"{node.value} -> {other}", node, lambda: setattr(node, "value", other)


def _name(op: ast.AST) -> str:
    return f"{type(op).__name__} -> {_SWAPS[type(op)].__name__}"


def _is_constant(node: ast.AST) -> bool:
    """Whether a subscript has no names: `0`, `-1`, `:, None`."""
    return not any(isinstance(inside, ast.Name) for inside in ast.walk(node))


def _is_no_number(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return any(map(_is_no_number, ast.iter_child_nodes(node)))
    return isinstance(node, _NO_NUMBERS) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _become(node: Any, other: ast.AST) -> None:
    """Turns a node into another one where it stands."""
    node.__class__, node.__dict__ = other.__class__, other.__dict__


def _other_constant(value: object) -> object:
    """Another value for a constant; None if it is not a number, or one that has only to be tiny or huge."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return None if 0 < abs(value) < 1e-5 or abs(value) > 1e8 else value * 2 or 1.0
    return None


# Running the tests


class Runner:
    """Runs the tests of a mutant in forks of this process, each in its own copy of the repository.

    Args:
      folder: for the copies.
      workers: the number of mutants that run at the same time.
    """

    def __init__(self, folder: Path, workers: int):
        self._free = [_copy_repository(folder / f"copy{i}") for i in range(workers)]
        self._running: dict[int, tuple[Path, str, Mutant | None, float]] = {}
        self.limits: dict[str, float] = {}  # of each room, in seconds

    def run(self, jobs: list[tuple[str, Mutant | None]]) -> Iterator[tuple[str, Mutant | None, str, float]]:
        """Runs jobs of a room and a mutant, None for the unchanged code.

        Yields:
          room, mutant, the first test that failed ("" if all passed), seconds.
        """
        waiting = list(reversed(jobs))
        while waiting or self._running:
            while waiting and self._free:
                self._start(*waiting.pop())
            yield from self._finished()
            time.sleep(0.02)

    def _start(self, room: str, mutant: Mutant | None) -> None:
        copy = self._free.pop()
        if mutant:
            (copy / PACKAGE / mutant.module).write_text(mutant.source(), encoding="utf8")
        tests = tests_of(room, mutant.module if mutant else "")
        (copy / "result").unlink(missing_ok=True)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _run_tests(copy, tests)
        self._running[pid] = copy, room, mutant, time.monotonic()

    def _finished(self) -> Iterator[tuple[str, Mutant | None, str, float]]:
        for pid, (copy, room, mutant, started) in list(self._running.items()):
            done, _ = os.waitpid(pid, os.WNOHANG)
            seconds = time.monotonic() - started
            hangs = not done and seconds > self.limits.get(room, 900)
            if not (done or hangs):
                continue
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it has started too
            if hangs:
                os.waitpid(pid, 0)
            del self._running[pid]
            if mutant:
                shutil.copyfile(ROOT / PACKAGE / mutant.module, copy / PACKAGE / mutant.module)
            shutil.rmtree(copy / "tmp", ignore_errors=True)
            self._free.append(copy)
            result = copy / "result"
            failed = result.read_text() if result.exists() else "the process died"
            yield room, mutant, f"time limit of {seconds:.0f} s" if hangs else failed, seconds


def tests_of(room: str, module: str) -> list[str]:
    """Returns the test files of a room; of a folder test_MODULE.py comes first, then those that import the module."""
    files: list[Path] = []
    stem, folder = Path(module).stem, module.partition("/")[0]
    imports = re.compile(rf"^from {PACKAGE}\.{folder}(\.{stem} import | import .*\b{stem}\b)", re.MULTILINE)
    for name in ROOMS[room].split():
        path = ROOT / "tests" / name
        found = sorted(path.glob("test_*.py")) if path.is_dir() else [path]
        files += sorted(found, key=lambda f: (f.stem != f"test_{stem}", not imports.search(f.read_text("utf8"))))
    return [str(file.relative_to(ROOT)) for file in files]


def room_of(mutant: Mutant) -> str:
    return mutant.module if mutant.module in ROOMS else str(Path(mutant.module).parent)


def _copy_repository(folder: Path) -> Path:
    for name in (PACKAGE, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    # By hash and not by time: a mutant has a time, and often a size, of its own.
    by_hash = py_compile.PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder / PACKAGE, quiet=2, invalidation_mode=by_hash)
    return folder


class _FirstFailure:
    """A pytest plugin that keeps the name of the first test that failed."""

    name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.name = self.name or (report.nodeid if report.failed else "")

    def pytest_collectreport(self, report: Any) -> None:
        self.name = self.name or (f"{report.nodeid} (import)" if report.failed else "")


def _run_tests(copy: Path, tests: list[str]) -> None:
    """In the fork: runs tests in a copy of the repository, writes the first failure into its file `result`, exits."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        log = os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(copy)
        own = {str(ROOT), str(ROOT / "tests"), ""}
        sys.path[:] = [str(copy), *(path for path in sys.path if path not in own)]
        # Plugins that happen to be installed take two seconds to import.
        os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        import pytest

        first = _FirstFailure()
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={copy / 'tmp'}"]
        code = pytest.main([*options, *tests], plugins=[first])
        (copy / "result").write_text(first.name or ("" if code == 0 else f"pytest ended with {code!r}"))
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=160, help="size of the sample; 0: all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--room", default="", help="folders, or FOLDER/FILE.py, divided by commas; default: all")
    parser.add_argument("--tests", default="", help="files below tests/ to run instead of those of the room")
    parser.add_argument("--only", default="", help="runs the mutants of the sample whose key contains this")
    parser.add_argument("--list", action="store_true", help="lists the mutants and runs nothing")
    parser.add_argument("--workers", type=int, default=1, help="mutants run at the same time (default: %(default)s)")
    parser.add_argument("--unchecked", action="store_true", help="does not run the tests on the unchanged code first")
    args = parser.parse_args()

    mutants = find_mutants()
    for key in EQUIVALENT.keys() - {mutant.key for mutant in mutants}:
        print(f"EQUIVALENT names a mutant that does not exist: {key}", file=sys.stderr)
    chosen = [
        m
        for m in choose(mutants, args.count, args.seed)
        if args.only in m.key and m.module.startswith(tuple(args.room.split(",")))
    ]
    print(f"{len(chosen)} of {len(mutants)} mutants")
    if args.list:
        print(*(f"{mutant.key}  {mutant}" for mutant in chosen), sep="\n")
        return 0
    if args.tests:
        ROOMS.update(dict.fromkeys(ROOMS, args.tests.replace(",", " ")))
    return run(chosen, args.workers, args.unchecked)


def run(chosen: list[Mutant], workers: int, unchecked: bool) -> int:
    """Runs mutants, prints each result and the score; returns the exit status."""
    for name in _IMPORTED_ONCE:
        importlib.import_module(name)
    counts: collections.Counter[str] = collections.Counter()
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        runner = Runner(Path(folder), workers)
        tested = [mutant for mutant in chosen if mutant.key not in EQUIVALENT]
        for mutant in chosen:
            if mutant.key in EQUIVALENT:
                print(f"equivalent {mutant}  because {EQUIVALENT[mutant.key]}")
        for room in dict.fromkeys(map(room_of, tested)):
            for _, _, failed, seconds in runner.run([] if unchecked else [(room, None)]):
                print(f"unchanged  {room}: {failed or 'all tests pass'}  ({seconds:.0f} s)", flush=True)
                runner.limits[room] = 60 + 3 * seconds
                if failed:
                    return 2
            for _, mutant, failed, seconds in runner.run([(room, m) for m in tested if room_of(m) == room]):
                result = "caught" if failed else "SURVIVED"
                counts[result] += 1
                survivors += [] if failed else [mutant]
                print(f"{result:10} {mutant}  {f'by {failed}' if failed else ''}  ({seconds:.0f} s)", flush=True)
    for mutant in survivors:
        print(f"survived: {mutant.key}")
    score = counts["caught"] / max(len(tested), 1)
    print(f"{counts['caught']} of {len(tested)} caught ({score:.1%}), {len(chosen) - len(tested)} equivalent")
    return 0 if score >= LEAST_SCORE else 1


if __name__ == "__main__":
    sys.exit(main())
