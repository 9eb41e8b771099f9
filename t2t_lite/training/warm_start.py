"""Warm start: a new run begins with the weights of an old one, as far as they fit."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import gin_config
from t2t_lite.problems.features import Text
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run

_TAKEN, _SHAPE, _VOCABULARY = "taken", "other shape", "other vocabulary"
_NEW, _OLD = "only in the new model", "only in the old model"


def warm_start(model: Any, run: Run, source: Path) -> str:
    """Puts the weights of an old run that fit by name and shape into a model.

    A net of text whose vocabulary has changed is not taken: its rows would mean other pieces. The commands' embeddings
    are matched by the command's name.

    Args:
      model: the new run's model.
      run: the new run.
      source: an old run's folder, or one of its checkpoints: FOLDER/checkpoints/ckpt-N.

    Returns:
      A table of what was and was not taken.

    Raises:
      UserError: there is no such run or checkpoint, or a problem of the old run is not registered.
    """
    folder, step = _find(source)
    # Two models need not fit on an accelerator.
    with gin_config.preserve_bindings(), tf.device("CPU:0"):
        old_run = Run.open(folder)
        old = old_run.build_model()
        step = Checkpoints(folder, old).restore_weights(step)
    changed = _nets_of_changed_vocabularies(model, run, old_run)
    mine, theirs = _weights(model), _weights(old)
    fates: dict[str, str] = {}
    for name, weight in mine.items():
        if name not in theirs:
            fates[name] = _NEW
        elif name.startswith(changed):
            fates[name] = _VOCABULARY
        elif weight.shape != theirs[name].shape:
            fates[name] = _SHAPE
        else:
            fates[name] = _TAKEN
            weight.assign(theirs[name])
    fates |= {name: _OLD for name in theirs if name not in mine}
    _take_commands(model, old, fates)
    return "\n".join([f"weights of {folder}, step {step}:", *_table(fates)])


def _find(source: Path) -> tuple[Path, int | None]:
    """The run's folder, and the step where a checkpoint is named."""
    named = re.fullmatch(r"ckpt-(\d+)(\.(index|json|data-.*))?", source.name)
    if named and source.parent.name == "checkpoints":
        return source.parent.parent, int(named[1])
    if not (source / "run.json").exists():
        raise UserError(
            f"--warm_start_from: no run in '{source}'; give a run's folder, or one of its checkpoints as "
            "FOLDER/checkpoints/ckpt-N"
        )
    return source, None


def _weights(model: Any) -> dict[str, Any]:
    """The model's weights by name, the table of commands aside."""
    own = f"{model.name}/"  # Keras counts the models of a process: the second is multi_model_1
    return {v.path.removeprefix(own): v for v in model.weights if v is not getattr(model, "commands", None)}


def _take_commands(model: Any, old: Any, fates: dict[str, str]) -> None:
    """Takes the rows of the commands that both models know."""
    mine, theirs = getattr(model, "command_names", []), getattr(old, "command_names", [])
    for row, name in enumerate(mine):
        if name not in theirs:
            fates[f"command {name}"] = _NEW
        elif model.commands.shape[1] != old.commands.shape[1]:
            fates[f"command {name}"] = _SHAPE
        else:
            fates[f"command {name}"] = _TAKEN
            values = model.commands.numpy()
            values[row] = old.commands.numpy()[theirs.index(name)]
            model.commands.assign(values)
    fates |= {f"command {name}": _OLD for name in theirs if name not in mine}


def _nets_of_changed_vocabularies(model: Any, run: Run, old: Run) -> tuple[str, ...]:
    """What the weights' names of those text nets begin with whose vocabulary was another one in the old run."""
    features = [f for p in run.problems().values() for f in (p.inputs, p.targets) if isinstance(f, Text)]
    return tuple(
        model.net(f).name + end
        for f in features
        for end in "/."
        if f.vocab in old.vocabularies and old.vocabularies[f.vocab] != run.vocabularies[f.vocab]
    )


def _part(name: str) -> str:
    """What a weight belongs to: `language_en` of `language_en/softmax`, `body.encoder` of `body.encoder.block0/...`."""
    first, *rest = name.split("/")[0].split(".")
    return f"{first}.{rest[0]}" if first == "body" and rest else first


def _table(fates: dict[str, str]) -> Iterable[str]:
    """A line a fate: how many weights, and of which parts."""
    for fate in (_TAKEN, _SHAPE, _VOCABULARY, _NEW, _OLD):
        parts = Counter(_part(name) for name, one in fates.items() if one == fate)
        if parts:
            told = ", ".join(f"{part} ({count})" if count > 1 else part for part, count in parts.items())
            yield f"  {fate:21}  {sum(parts.values()):>5}  {told}"
