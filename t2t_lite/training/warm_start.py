"""Warm start: copies the weights of an old run that fit into a new run's model."""

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

_TAKEN, _SHAPE, _VOCABULARY = "copied", "other shape", "other vocabulary"
_NEW, _OLD = "only in the new model", "only in the old model"


def warm_start(model: Any, run: Run, source: Path) -> str:
    """Copies the weights of an old run that match by name and shape.

    Does not copy a text net whose vocabulary has changed, as its rows belong to other pieces. Matches the embeddings of
    commands by the command's name.

    Args:
      model: the new run's model.
      run: the new run.
      source: an old run's folder, or one of its checkpoints: FOLDER/checkpoints/ckpt-N.

    Returns:
      A table of the weights that were copied and of those that were not.

    Raises:
      UserError: there is no such run or checkpoint, or a problem of the old run is not registered.
    """
    folder, step = _find(source)
    # On the CPU, as two models may not fit on an accelerator.
    with gin_config.preserve_bindings(), tf.device("CPU:0"):
        old_run = Run.open(folder)
        old = old_run.build_model()
        step = Checkpoints(folder, old).restore_weights(step)
    changed = _nets_of_changed_vocabularies(model, run, old_run)
    new_weights, old_weights = _weights(model), _weights(old)
    outcomes: dict[str, str] = {}  # {weight: one of the five above}
    for name, weight in new_weights.items():
        if name not in old_weights:
            outcomes[name] = _NEW
        elif name.startswith(changed):
            outcomes[name] = _VOCABULARY
        elif weight.shape != old_weights[name].shape:
            outcomes[name] = _SHAPE
        else:
            outcomes[name] = _TAKEN
            weight.assign(old_weights[name])
    outcomes |= {name: _OLD for name in old_weights if name not in new_weights}
    _copy_commands(model, old, outcomes)
    return "\n".join([f"weights of {folder}, step {step}:", *_table(outcomes)])


def _find(source: Path) -> tuple[Path, int | None]:
    """Returns the run's folder, and the step if `source` is a checkpoint."""
    named = re.fullmatch(r"ckpt-(\d+)(\.(optimizer\.)?(index|json|data-.*))?", source.name)
    if named and source.parent.name == "checkpoints":
        return source.parent.parent, int(named[1])
    if not (source / "run.json").exists():
        raise UserError(
            f"--warm_start_from: no run in '{source}'; give a run's folder, or one of its checkpoints as "
            "FOLDER/checkpoints/ckpt-N"
        )
    return source, None


def _weights(model: Any) -> dict[str, Any]:
    """Returns {name: weight} without the embeddings of commands."""
    own = f"{model.name}/"  # Keras numbers the models of a process: the second is multi_model_1
    return {v.path.removeprefix(own): v for v in model.weights if v is not getattr(model, "commands", None)}


def _copy_commands(model: Any, old: Any, outcomes: dict[str, str]) -> None:
    """Copies the embeddings of the commands that both models have."""
    new_names, old_names = getattr(model, "command_names", []), getattr(old, "command_names", [])
    for row, name in enumerate(new_names):
        if name not in old_names:
            outcomes[f"command {name}"] = _NEW
        elif model.commands.shape[1] != old.commands.shape[1]:
            outcomes[f"command {name}"] = _SHAPE
        else:
            outcomes[f"command {name}"] = _TAKEN
            values = model.commands.numpy()
            values[row] = old.commands.numpy()[old_names.index(name)]
            model.commands.assign(values)
    outcomes |= {f"command {name}": _OLD for name in old_names if name not in new_names}


def _nets_of_changed_vocabularies(model: Any, run: Run, old: Run) -> tuple[str, ...]:
    """Returns the prefixes of the weights' names of text nets whose vocabulary differs between the runs."""
    features = [f for p in run.problems().values() for f in p.keyed_features.values() if isinstance(f, Text)]
    return tuple(
        model.net(f).name + end
        for f in features
        for end in "/."
        if f.vocab in old.vocabularies and old.vocabularies[f.vocab] != run.vocabularies[f.vocab]
    )


def _part(name: str) -> str:
    """Returns a weight's net or part: `language_en` of `language_en/softmax`, `body.mixer` of `body.mixer.norm/...`."""
    first, *rest = name.split("/")[0].split(".")
    return f"{first}.{rest[0]}" if first == "body" and rest else first


def _table(outcomes: dict[str, str]) -> Iterable[str]:
    """Yields a line for each outcome: the number of weights, and their parts."""
    for outcome in (_TAKEN, _SHAPE, _VOCABULARY, _NEW, _OLD):
        parts = Counter(_part(name) for name, one in outcomes.items() if one == outcome)
        if parts:
            listed = ", ".join(f"{part} ({count})" if count > 1 else part for part, count in parts.items())
            yield f"  {outcome:21}  {sum(parts.values()):>5}  {listed}"
