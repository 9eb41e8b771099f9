"""What a report shows about a run, as plain values; read from the files of the run, without its model."""

import collections
import dataclasses
import json
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite import registry
from t2t_lite.data.manifest import manifest_path
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import from_dict, inputs_from_dict, parts
from t2t_lite.problems.problem import get_problem
from t2t_lite.runs.run import Run

CURVE_POINTS = 120  # of a training curve: each the mean of as many steps as needed
_FEW_CHANGES = 12  # hparams in the command; with more, the command names the run's gin file instead

Point = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """What a problem's data are: "text", "image", "audio", "class" or "tree"."""

    inputs: tuple[str, ...]
    targets: str


@dataclass
class Curves:
    """The learning curves of a problem in a run. x is the number of training steps on this problem."""

    train_loss: list[Point] = field(default_factory=list)
    dev: dict[str, list[Point]] = field(default_factory=dict)  # {metric: points}


@dataclass(frozen=True)
class Example:
    """An example of a split as raw values, and the answers of the runs."""

    inputs: tuple[Any, ...]  # a text, the bytes of a picture, or int16 samples; one for each input
    reference: str
    answers: dict[int, str] = field(default_factory=dict)  # {number of the run: text}

    @property
    def value(self) -> Any:
        """The inputs as `TrainedRun.answer` takes them."""
        return self.inputs if len(self.inputs) > 1 else self.inputs[0]


@dataclass
class ExpertUse:
    """How a run's experts serve a problem. Arrays are by layer: "encoder", "decoder"."""

    examples: int
    by_position: dict[str, np.ndarray]  # (E, bins): positions served, from the first tenth to the last
    loss: float = math.nan  # nats per target, teacher-forced, on these examples
    without: dict[str, np.ndarray] = field(
        default_factory=dict
    )  # (E,): the loss without each expert; NaN: not measured


@dataclass
class Attention:
    """The attention for one example and the run's own answer."""

    example: Example
    rows: list[str]  # T pieces of the answer
    columns: list[str]  # S pieces of the input; "" for pictures and sounds
    weights: np.ndarray  # (T, S)
    grid: tuple[int, ...]  # of a picture's positions; () otherwise
    pixels: np.ndarray | None = None  # the picture as the network sees it: (rows, columns, 3) in [0, 1]


@dataclass
class Confusion:
    """How many examples of each class (rows) got which answer (columns)."""

    classes: list[str]
    counts: np.ndarray  # (C, C)


@dataclass
class RunFacts:
    """What is known of a run. `notes` has a line for each thing that could not be found out."""

    folder: Path
    title: str
    model: str = ""
    kinds: dict[str, Kind] = field(default_factory=dict)  # of its problems
    sample_rates: dict[str, int] = field(default_factory=dict)  # of problems with sounds
    hparams: HParams | None = None
    steps: int = 0
    seconds: float = 0.0  # spent in training steps
    command: str = ""
    data_version: str = ""
    curves: dict[str, Curves] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # {problem: the last evaluation}
    parameters: dict[str, int] = field(default_factory=dict)  # {part of the model: its size}
    checkpoint: int | None = None  # the step of the weights that answered
    experts: dict[str, ExpertUse] = field(default_factory=dict)
    attention: dict[str, Attention] = field(default_factory=dict)
    confusion: dict[str, Confusion] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_folder(folder: Path) -> None:
    """Raises UserError if a folder is not a run; the text names it."""
    if not folder.is_dir():
        raise UserError(f"--report: no folder '{folder}'; give folders that t2t-trainer wrote (--output_dir)")
    if not (folder / "run.json").is_file():
        raise UserError(f"--report: '{folder}' is not a run (it has no run.json); give folders that t2t-trainer wrote")


def read_run(folder: Path, title: str) -> RunFacts:
    """Reads the description and the metrics of a run. What is missing or damaged becomes a note."""
    facts = RunFacts(folder, title)
    try:
        run = Run.open(folder)
        facts.model, facts.hparams = run.model_name, run.hparams
        for name, declared in run.declarations.items():
            inputs, targets = inputs_from_dict(declared["inputs"]), from_dict(declared["targets"])
            kinds = tuple(_kind(feature) for feature in parts(inputs))
            facts.kinds[name] = Kind(kinds, "tree" if _is_tree(name) else _kind(targets))
            for feature in parts(inputs):
                if hasattr(feature, "sample_rate"):
                    facts.sample_rates[name] = feature.sample_rate
    except UserError as e:
        facts.notes.append(f"The run cannot be read: {e}")
        return facts
    except (KeyError, TypeError, AttributeError) as e:
        facts.notes.append(f"The run cannot be read: its description in run.json is damaged ({type(e).__name__}: {e})")
        return facts
    _read_metrics(facts)
    facts.command = _command(facts, run)
    data = _read_json(folder / "data.json")
    versions = {about.get("version", "") for about in data.values() if isinstance(about, dict)} - {""}
    facts.data_version = ", ".join(sorted(versions))
    return facts


def find_data(folder: Path, problem: str, data_dir: Path | None) -> Path | None:
    """Returns the folder of a problem's records: `data_dir`, or else a folder `data` in or beside the run."""
    folder = folder.absolute()
    near = (folder / "data", folder.parent / "data", folder.parent.parent / "data")
    candidates = (data_dir,) if data_dir else near
    return next((each for each in candidates if manifest_path(each, problem).is_file()), None)


def _is_tree(problem: str) -> bool:
    try:
        return "tree" in get_problem(problem).metrics
    except UserError:  # of the user's own, and not imported
        return False


def _kind(feature: Any) -> str:
    return {"Text": "text", "Image": "image", "Audio": "audio", "Label": "class"}.get(type(feature).__name__, "text")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _lines(path: Path) -> Any:
    """Yields the JSON objects of a file of lines; skips lines that are damaged."""
    try:
        with path.open(encoding="utf8", errors="replace") as file:
            for line in file:
                try:
                    stored = json.loads(line)
                except ValueError:  # cut off by a kill
                    continue
                if isinstance(stored, dict) and isinstance(stored.get("step"), int):
                    yield stored
    except OSError:
        return


def _read_metrics(facts: RunFacts) -> None:
    """Reads scalars.jsonl and eval_curve.jsonl into curves, last scores, steps and seconds."""
    losses: dict[str, list[tuple[int, float]]] = collections.defaultdict(list)  # {problem: (step, loss)}
    evaluations: dict[str, dict[int, dict[str, Any]]] = collections.defaultdict(dict)  # {problem: {step: scores}}
    for line in _lines(facts.folder / "scalars.jsonl"):
        problem, step = str(line.get("problem")), line["step"]
        if line.get("split") == "train":
            facts.steps = max(facts.steps, step)
            facts.seconds += float(np.nan_to_num(_number(line.get("step_seconds"))))
            losses[problem].append((step, _number(line.get("loss"))))
        elif line.get("split") == "dev":
            evaluations[problem][step] = line
    for line in _lines(facts.folder / "eval_curve.jsonl"):
        problems = line.get("problems")
        if line.get("split") == "dev" and isinstance(problems, dict):
            for problem, scores in problems.items():
                evaluations[problem].setdefault(line["step"], {}).update(scores)
    if not losses:
        facts.notes.append(
            "No training metrics: scalars.jsonl is missing or empty, so there are no curves and no time."
        )
    for problem in dict.fromkeys([*losses, *evaluations]):
        curves = facts.curves[problem] = Curves()
        steps = np.array([step for step, _ in losses[problem]])

        def own_steps(step: int, steps: np.ndarray = steps) -> float:
            return float(np.searchsorted(steps, step, "right")) if len(steps) else float(step)

        values = [loss for _, loss in losses[problem]]
        curves.train_loss = _thinned([(n + 1.0, value) for n, value in enumerate(values) if not math.isnan(value)])
        for step, scores in sorted(evaluations[problem].items()):
            facts.scores[problem] = {**scores, "step": step}
            for key, value in scores.items():
                if key not in ("step", "examples") and not math.isnan(number := _number(value)):
                    curves.dev.setdefault(key, []).append((own_steps(step), number))


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else math.nan


def _thinned(points: list[Point]) -> list[Point]:
    """Returns at most CURVE_POINTS points, each the mean of neighbours."""
    if len(points) <= CURVE_POINTS:
        return points
    groups = np.array_split(np.array(points), CURVE_POINTS)
    return [(float(x), float(y)) for x, y in (group.mean(axis=0) for group in groups)]


def _command(facts: RunFacts, run: Run) -> str:
    """Returns a t2t-trainer command with these settings: the nearest registered set, and what differs from it."""
    own = dataclasses.asdict(run.hparams)
    train_steps = max(facts.steps, run.hparams.decay_steps)
    sets = {name: dataclasses.asdict(registry.hparams_sets.get(name)()) for name in registry.hparams_sets.describe()}
    changes = {
        name: {key: value for key, value in own.items() if value != values.get(key)} for name, values in sets.items()
    }
    for changed in changes.values():
        if changed.get("decay_steps") == train_steps:
            del changed["decay_steps"]
    nearest = min(changes, key=lambda name: len(changes[name]))
    flags = [f"--problem={','.join(run.declarations)}", f"--hparams_set={nearest}"]
    if run.model_name != "multi_model":
        flags.append(f"--model={run.model_name}")
    frozen = changes[nearest].pop("freeze", "")  # t2t-trainer has a flag for it
    if frozen:
        flags.append(f"--freeze={frozen}")
    if len(changes[nearest]) > _FEW_CHANGES:
        flags.append(f"--gin_file={facts.folder.name}/operative_config.gin")
    elif changes[nearest]:
        flags.append("--hparams=" + ",".join(f"{key}={value}" for key, value in changes[nearest].items()))
    flags += ["--data_dir=data", f"--output_dir={facts.folder.name}", f"--train_steps={train_steps}"]
    return shlex.join(["t2t-trainer", *flags])
