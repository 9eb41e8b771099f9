"""The average of a run's last checkpoints, as a run of its own."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.replace_folder import check_not_inside, replace_folder
from t2t_lite.runs.run import AVERAGED, Run

_DESCRIPTION = ("hparams.json", "operative_config.gin", "run.json")


def average_checkpoints(output_dir: Path, averaged_dir: Path, count: int | None = None) -> list[int]:
    """Averages the weights of the last checkpoints into a folder that t2t-eval and t2t-decoder take as a run.

    Where the run has moving averages (hparams.average_decay), it is these that are averaged: the weights that t2t-eval
    would take. The folder has the step of the last checkpoint. It is for evaluation: there is no optimizer to train on.

    Args:
      output_dir: the run's folder.
      averaged_dir: the new folder; what an earlier call made there is replaced.
      count: how many checkpoints; all that there are if None.

    Returns:
      The steps of the checkpoints averaged, ascending.

    Raises:
      UserError: no run, fewer checkpoints than asked for, one that is damaged, or averaged_dir is not ours to write.
    """
    run = Run.open(output_dir)
    steps = sorted(finished_steps(output_dir))
    if not steps:
        raise UserError(f"--output_dir: no checkpoint in {output_dir}; train first, or wait for the first one")
    if count and count > len(steps):
        found = f"{output_dir} holds {len(steps)}, of the steps {', '.join(map(str, steps))}"
        raise UserError(f"--n={count}: {found}; give --n={len(steps)} or less")
    check_not_inside("--averaged_dir", averaged_dir)
    if averaged_dir.exists() and not (averaged_dir / AVERAGED).exists():
        raise UserError(f"--averaged_dir: {averaged_dir} is there and was not made by t2t-avg-all; give another folder")
    steps = steps[-(count or 0) :]

    model = run.build_model()
    _average(model, Checkpoints(output_dir, model), steps)
    with replace_folder(averaged_dir) as unfinished:
        for path in [*(output_dir / name for name in _DESCRIPTION), *output_dir.glob("vocab.*.model")]:
            shutil.copyfile(path, unfinished / path.name)
        (unfinished / AVERAGED).write_text(json.dumps({"run": str(output_dir), "steps": steps}) + "\n", encoding="utf8")
        Checkpoints(unfinished, model).save(steps[-1])
    return steps


def _average(model: Any, checkpoints: Checkpoints, steps: list[int]) -> None:
    """Gives a model the mean of its weights at these steps."""
    sums = [np.zeros(variable.shape) for variable in model.weights]
    for step in steps:
        checkpoints.restore_weights(step)
        for total, variable in zip(sums, model.weights, strict=True):
            total += variable.numpy()
    for variable, total in zip(model.weights, sums, strict=True):
        variable.assign(total / len(steps))
