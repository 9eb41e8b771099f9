"""MODEL_CARD.md of an export: what the model does, what it was trained on, its figures, how to use it, its limits.

The generated part stands between two HTML comments. An export replaces that part of an earlier card and keeps the text
before and after it.
"""

import dataclasses
import inspect
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import t2t_lite
from t2t_lite.data.manifest import Manifest, manifest_path
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.hparams import HParams
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Image, Label, Text, input_features
from t2t_lite.runs.run import DATA, Run, describe_manifest

CARD = "MODEL_CARD.md"
BEGIN = "<!-- t2t_lite: generated part, replaced at each export; write your own text above or below it -->"
END = "<!-- t2t_lite: end of the generated part -->"
_MICROWORLD = "t2t_lite.problems.microworld"
_STORED = "Weights are stored as {}; computation is in float32."
_COMPARED = "Compared with float32 on some batches of the dev split:"
_EVALUATED = """From the last evaluation, of step {}, on the dev split. Loss is in nats per target; loss and
accuracies are teacher-forced, other scores are of decoded answers. During training evaluations take some batches,
`t2t-eval` takes all."""
_SERVED = """`t2t-server --export_dir={}` serves it over HTTP, with a page. It is a SavedModel that plain
TensorFlow loads too, after `import tensorflow_text`; each problem is a signature."""
_GENERAL_LIMITS = """- It knows what its training data have; do not rely on its answers to other texts, pictures
  and sounds.
- A score is a log-probability under the model, not a calibrated confidence."""
_MICROWORLD_LIMITS = """- Microworld is a generated world of a few hundred words, simple shapes and six synthetic
  voices: a demonstration."""
_NOT_SHOWN = ("step", "split", "problem", "log_perplexity")


def model_card(
    run: Run,
    problems: Mapping[str, Problem],
    description: Mapping[str, Any],
    export_dir: Path,
    data_dir: Path | None = None,
    comparison: str = "",
) -> str:
    """Returns the generated part of the card.

    Args:
      run: the run that is exported.
      problems: the problems of the export.
      description: the contents of export.json.
      export_dir: the folder that the commands of the card name.
      data_dir: the folder of the data, for a run so old that it does not describe them.
      comparison: the table of figures with quantized weights, or "".
    """
    step = description["step"]
    sections = [
        [f"# {description['name']}, step {step}", "", *_problems(description["problems"])],
        ["## Data", "", *_data(run, problems, data_dir)],
        ["## Figures", "", *_figures(run.folder, problems, step)],
        [_STORED.format(description["weights"])] if description["weights"] != "float32" else [],
        [_COMPARED, "", "```", comparison, "```"] if comparison else [],
        ["## Use", "", *_use(description, export_dir)],
        ["## Limits", "", *_limits(problems, description)],
        ["## Training", "", *_training(run.hparams)],
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return f"{BEGIN}\n{body}\n{END}\n"


def merge(earlier: str | None, generated: str) -> str:
    """Returns an earlier card with its generated part replaced; appends that part if the card has none."""
    if earlier is None:
        return generated
    before, begin, rest = earlier.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        return f"{earlier.rstrip()}\n\n{generated}"
    return before + generated.rstrip("\n") + after


def read_card(export_dir: Path) -> str | None:
    """Returns the card in a folder, if there is one."""
    path = export_dir / CARD
    return path.read_text(encoding="utf8", errors="replace") if path.is_file() else None


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield "|---" * len(heading) + "|"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _joined(kinds: str | Sequence[str]) -> str:
    return kinds if isinstance(kinds, str) else " and ".join(kinds)


def _problems(described: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        (f"`{name}`", f"{_joined(about['inputs'])} to {about['outputs']}", about["description"])
        for name, about in described.items()
    ]
    yield from _table(["problem", "kind", "what it does"], rows)


def _data(run: Run, problems: Mapping[str, Problem], data_dir: Path | None) -> Iterator[str]:
    rows = []
    for name, problem in problems.items():
        counts, source = _counts(run.folder, name, data_dir)
        rows.append((f"`{name}`", *(counts.get(split, "") for split in ("train", "dev")), source, licence(problem)))
    yield from _table(["problem", "training examples", "dev", "source", "licence"], rows)
    others = [name for name in run.declarations if name not in problems]
    if others:
        yield f"\nTrained together with {', '.join(f'`{name}`' for name in others)}, which this export leaves out."


def _counts(folder: Path, name: str, data_dir: Path | None) -> tuple[dict[str, str], str]:
    """Returns {split: number of examples} and a phrase on the source, as far as they are known."""
    stored = _read_json(folder / DATA).get(name)
    if stored is None and data_dir is not None and manifest_path(data_dir, name).exists():
        stored = describe_manifest(Manifest.read(data_dir, name))
    if stored is None:
        row = _read_json(folder / "mixture.json").get("problems", {}).get(name, {})
        stored = {"examples": {"train": row["examples"]}} if "examples" in row else {}
    counts = {split: f"{count:,}" for split, count in stored.get("examples", {}).items()}
    return counts, stored.get("description", "")


def licence(problem: Problem) -> str:
    """Returns the licence of a problem's data, as the docstring of its class states it ("Licence: ...")."""
    kind = type(problem)
    if kind.__module__.startswith(_MICROWORLD):
        return "generated by t2t_lite (Apache 2.0)"
    stated = re.search(r"Licen[cs]e:\s+(.+?)(?=\n\s*\n|\n\s*[A-Z][\w ]*:\s|$)", inspect.getdoc(kind) or "", re.DOTALL)
    if stated:
        return " ".join(stated[1].split())
    return "that of your own files" if problem.needs_source else "not stated"


def _figures(folder: Path, problems: Mapping[str, Problem], step: int) -> Iterator[str]:
    """The last evaluation of each problem up to the exported step."""
    last: dict[str, dict[str, Any]] = {}
    for scores in _evaluations(folder):
        name = scores["problem"]
        if name in problems and last.get(name, scores)["step"] <= scores["step"] <= step:
            last[name] = scores
    if not last:
        yield "The run has no evaluation up to this step: run `t2t-eval --checkpoint=all`."
        return
    yield _EVALUATED.format(", ".join(map(str, sorted({scores["step"] for scores in last.values()}))))
    yield ""
    metrics = list(
        dict.fromkeys(
            key
            for scores in last.values()
            for key, value in scores.items()
            if key not in _NOT_SHOWN and isinstance(value, int | float)
        )
    )
    rows = [
        (f"`{name}`", *("" if scores.get(key) is None else f"{scores[key]:.4g}" for key in metrics))
        for name, scores in last.items()
    ]
    yield from _table(["problem", *metrics], rows)


def _evaluations(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields {"step", "problem", metrics} of the evaluations in training, and of t2t-eval --checkpoint=all."""
    for name in ("scalars.jsonl", "eval_curve.jsonl"):
        path = folder / name
        for line in path.read_text(encoding="utf8").splitlines() if path.exists() else ():
            try:
                stored = json.loads(line)
            except ValueError:  # cut off by a kill
                continue
            if stored.get("split") == "dev":
                scored = stored.get("problems") or {stored.get("problem"): stored}
                for problem, scores in scored.items():
                    yield {**scores, "step": stored["step"], "problem": problem}


def _use(description: Mapping[str, Any], export_dir: Path) -> Iterator[str]:
    name, about = next(iter(description["problems"].items()))
    of_kind = {"text": '"A sentence."', "image": '"picture.png"', "audio": '"sound.wav"'}
    kinds = about["inputs"]
    example = f"({', '.join(of_kind[kind] for kind in kinds)})" if isinstance(kinds, list) else of_kind[kinds]
    yield from ("```python", "import t2t_lite", "")
    yield f'export = t2t_lite.load_export("{export_dir.name}")'
    yield f'export.answer("{name}", [{example}])[0].text'
    yield from ("```", "")
    yield _SERVED.format(export_dir.name)
    defaults = dataclasses.asdict(DecodeHParams())
    changed = [
        f"{k}={v}" for k, v in description.get("search", {}).items() if v != defaults.get(k) and k != "batch_size"
    ]
    yield f"The search is fixed: {', '.join(changed) or 'greedy'}."


def _limits(problems: Mapping[str, Problem], description: Mapping[str, Any]) -> Iterator[str]:
    for name, problem in problems.items():
        yield f"- `{name}`: {'; '.join([*_input_limits(problem), *_target_limits(problem, description)])}."
    yield _GENERAL_LIMITS
    if any(type(problem).__module__.startswith(_MICROWORLD) for problem in problems.values()):
        yield _MICROWORLD_LIMITS


def _input_limits(problem: Problem) -> Iterator[str]:
    for feature in input_features(problem.inputs).values():
        if isinstance(feature, Text):
            yield f"texts of at most {feature.max_length} tokens, longer ones are cut"
        elif isinstance(feature, Image):
            yield f"pictures are seen at {feature.rows} x {feature.columns} pixels"
        elif isinstance(feature, Audio):
            yield f"sounds of at most {feature.max_seconds:g} s, converted to {feature.sample_rate} Hz"


def _target_limits(problem: Problem, description: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(problem.targets, Label):
        names = problem.targets.classes
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        yield f"one of {len(names)} classes: {', '.join(names[:8])}{more}"
    elif isinstance(problem.targets, Text):
        most = description.get("search", {}).get("max_length") or problem.targets.max_length
        yield f"answers of at most {most} tokens"


def _training(hparams: HParams) -> Iterator[str]:
    import keras
    import tensorflow as tf

    versions = {
        "t2t_lite": t2t_lite.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "Python": platform.python_version(),
    }
    yield f"Exported with {', '.join(f'{name} {version}' for name, version in versions.items())}. Seed {hparams.seed}."
    yield "Hparams that differ from the defaults (`hparams.json` of the run has all):"
    yield ""
    defaults = dataclasses.asdict(HParams())
    changed = {name: value for name, value in dataclasses.asdict(hparams).items() if value != defaults[name]}
    yield "```"
    yield from (f"{name} = {value}" for name, value in changed.items())
    yield "```"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}
