"""Averages the weights of a run's last checkpoints and writes them as a run folder of their own."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.memory import explain_out_of_memory
from t2t_lite.runs.replace_folder import check_not_inside, replace_folder
from t2t_lite.runs.run import AVERAGED, DATA, Run

_COPIED_FILES = ("hparams.json", "operative_config.gin", "run.json")


def average_checkpoints(output_dir: Path, averaged_dir: Path, count: int | None = None) -> list[int]:
    """Averages the weights of the last checkpoints into a folder that t2t-eval and t2t-decoder take as a run.

    If the run has moving averages (hparams.average_decay), averages these: they are what t2t-eval takes. The folder
    gets one checkpoint, numbered as the last one averaged. It holds no optimizer and cannot be trained on.

    Args:
      output_dir: the run's folder.
      averaged_dir: the new folder; one that an earlier call made is replaced.
      count: how many checkpoints to average; None for all.

    Returns:
      The steps of the checkpoints averaged, ascending.

    Raises:
      UserError: output_dir holds no run, or fewer checkpoints than `count`, or a damaged one; or averaged_dir exists
        and is not a folder of averaged weights.
    """
    run = Run.open(output_dir)
    steps = sorted(finished_steps(output_dir))
    if not steps:
        raise UserError(f"--output_dir: no checkpoint in {output_dir}; train first, or wait for the first one")
    if count and count > len(steps):
        available = f"{output_dir} holds {len(steps)}, of the steps {', '.join(map(str, steps))}"
        raise UserError(f"--n={count}: {available}; give --n={len(steps)} or less")
    check_not_inside("--averaged_dir", averaged_dir)
    if averaged_dir.exists() and not (averaged_dir / AVERAGED).exists():
        raise UserError(f"--averaged_dir: {averaged_dir} exists and was not made by t2t-avg-all; give another folder")
    steps = steps[-(count or 0) :]

    model = run.build_model()
    with explain_out_of_memory("the sum of the checkpoints' weights", "use a machine with more memory"):
        _assign_average(model, Checkpoints(output_dir, model), steps)
    with replace_folder(averaged_dir) as unfinished:
        for path in [*(output_dir / name for name in _COPIED_FILES), *output_dir.glob("vocab.*.model")]:
            shutil.copyfile(path, unfinished / path.name)
        if (output_dir / DATA).exists():  # runs of version 0.1.0 may have none
            shutil.copyfile(output_dir / DATA, unfinished / DATA)
        (unfinished / AVERAGED).write_text(json.dumps({"run": str(output_dir), "steps": steps}) + "\n", encoding="utf8")
        Checkpoints(unfinished, model).save(steps[-1])
    return steps


def _assign_average(model: Any, checkpoints: Checkpoints, steps: list[int]) -> None:
    """Assigns to the model's weights their mean over the checkpoints of these steps."""
    sums = [np.zeros(variable.shape) for variable in model.weights]
    for step in steps:
        checkpoints.restore_weights(step)
        for total, variable in zip(sums, model.weights, strict=True):
            total += variable.numpy()
    for variable, total in zip(model.weights, sums, strict=True):
        variable.assign(total / len(steps))
