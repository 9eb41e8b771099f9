"""Checkpoints: weights, optimizer and step, kept in the run's folder."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.runs.moving_average import load_moving_average


class Checkpoints:
    """The checkpoints of a run.

    Args:
      folder: the run's folder.
      model: whose weights they hold.
      optimizer: a tf.Module whose `step` and moments they hold; None where only the weights are wanted.
      keep: how many to keep.
    """

    def __init__(self, folder: Path, model: Any, optimizer: Any = None, keep: int = 3):
        self.folder = folder / "checkpoints"
        self._model = model
        self._step = optimizer.step if optimizer else tf.Variable(0, dtype=tf.int64, trainable=False)
        parts = {"model": model, "step": self._step}
        self._checkpoint = tf.train.Checkpoint(**parts, **({"optimizer": optimizer} if optimizer else {}))
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(self.folder), max_to_keep=keep)

    def save(self, step: int) -> None:
        """Writes a checkpoint; the old ones go once it is whole."""
        self._step.assign(step)
        self._manager.save(checkpoint_number=step)

    def restore(self) -> int:
        """Reads the latest checkpoint, if there is one. Returns the number of steps it has trained.

        Raises:
          UserError: it is damaged, or of another model.
        """
        latest = self._manager.latest_checkpoint
        return 0 if latest is None else self._read(latest)

    def _read(self, latest: str) -> int:
        try:
            status = self._checkpoint.restore(latest)
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
            raise UserError(f"{latest}: damaged, or of another model: {str(e).splitlines()[0]}") from e
        status.expect_partial()
        return int(self._step)

    def restore_weights(self, step: int | None = None) -> int:
        """Reads the latest weights, their moving averages where there are any. Returns the steps they were trained.

        Args:
          step: take this checkpoint and no other.

        Raises:
          UserError: there is no checkpoint.
        """
        latest = self._manager.latest_checkpoint if step is None else str(self.folder / f"ckpt-{step}")
        if latest is None:
            raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
        found = self._read(latest)
        load_moving_average(self._model, Path(latest))
        return found


def finished_steps(run_folder: Path) -> set[int]:
    """The steps of a run's checkpoints."""
    return {int(path.stem.removeprefix("ckpt-")) for path in (run_folder / "checkpoints").glob("ckpt-*.index")}
