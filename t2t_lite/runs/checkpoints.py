"""Checkpoints: weights, optimizer and step, kept in the run's folder."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.errors import UserError


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
        self._step = optimizer.step if optimizer else tf.Variable(0, dtype=tf.int64, trainable=False)
        parts = {"model": model, "step": self._step}
        self._checkpoint = tf.train.Checkpoint(**parts, **({"optimizer": optimizer} if optimizer else {}))
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(self.folder), max_to_keep=keep)

    def save(self, step: int) -> None:
        """Writes a checkpoint; the old ones go once it is whole."""
        self._manager.save(checkpoint_number=step)

    def restore(self) -> int:
        """Reads the latest checkpoint, if there is one. Returns the number of steps it has trained.

        Raises:
          UserError: it is damaged, or of another model.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return 0
        try:
            status = self._checkpoint.restore(latest)
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
            raise UserError(f"{latest}: damaged, or of another model: {str(e).splitlines()[0]}") from e
        status.expect_partial()
        return int(self._step)

    def restore_weights(self) -> int:
        """Reads the latest weights, which must be there. Returns the number of steps they were trained.

        Raises:
          UserError: there is no checkpoint.
        """
        if self._manager.latest_checkpoint is None:
            raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
        return self.restore()
