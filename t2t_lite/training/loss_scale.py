"""Steps that must not be taken: those whose loss or gradient is not finite."""

import tensorflow as tf

from t2t_lite.hparams import HParams

_FIRST_SCALE, _LARGEST_SCALE = 2.0**15, 2.0**24
_DOUBLE_AFTER = 2000  # good steps in a row


class LossScale(tf.Module):
    """Counts the steps that are skipped, and for float16 scales the loss so that small gradients do not become zero.

    The scale is halved when a gradient overflows and doubled after 2,000 steps without that. It is a part of the
    optimizer's state, and as such of checkpoints.

    Attributes:
      skipped: steps skipped in the whole run.
      in_row: steps skipped one after the other up to now, those that a smaller scale will mend aside.
      scale: what the loss is multiplied by; 1 but for float16.
    """

    def __init__(self, hparams: HParams):
        super().__init__(name="guard")
        self._scales = hparams.precision == "float16"

        def count(name: str) -> tf.Variable:
            return tf.Variable(0, dtype=tf.int64, trainable=False, name=name)

        self.skipped, self.in_row, self.good_steps = count("skipped"), count("in_row"), count("good_steps")
        self.scale = tf.Variable(_FIRST_SCALE if self._scales else 1.0, trainable=False, name="scale")

    def record_applied(self) -> None:
        """Takes note of a step that was made."""
        if int(self.in_row):
            self.in_row.assign(0)
        if self._scales:
            self.good_steps.assign_add(1)
            if int(self.good_steps) >= _DOUBLE_AFTER:
                self._rescale(2.0)

    def record_skipped(self, loss_is_finite: bool) -> None:
        """Takes note of a step that was skipped."""
        self.skipped.assign_add(1)
        if self._scales and loss_is_finite and float(self.scale) > 1.0:
            self._rescale(0.5)
        else:
            self.in_row.assign_add(1)

    def _rescale(self, factor: float) -> None:
        self.scale.assign(tf.clip_by_value(self.scale * factor, 1.0, _LARGEST_SCALE))
        self.good_steps.assign(0)
