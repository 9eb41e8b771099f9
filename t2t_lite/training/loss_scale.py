"""Loss scaling for float16, and the counts of skipped steps."""

import tensorflow as tf

from t2t_lite.hparams import HParams

_FIRST_SCALE, _LARGEST_SCALE = 2.0**15, 2.0**24
_DOUBLE_AFTER = 2000  # applied steps in a row


class LossScale(tf.Module):
    """Counts skipped steps and, for float16, scales the loss so that small gradients do not underflow to zero.

    Halves the scale when a gradient overflows, and doubles it after 2,000 applied steps in a row. Checkpoints hold it
    as a part of the optimizer; the names of its attributes are checkpoint keys.

    Attributes:
      skipped: steps skipped in the whole run.
      in_row: consecutive steps skipped up to now, without those after which the scale was halved.
      scale: the factor of the loss; always 1 unless the precision is float16.
      unscalable: steps that this process skipped and that no smaller scale could have saved; not in checkpoints.
    """

    def __init__(self, hparams: HParams):
        super().__init__(name="guard")
        self._scales = hparams.precision == "float16"

        def count(name: str) -> tf.Variable:
            return tf.Variable(0, dtype=tf.int64, trainable=False, name=name)

        with tf.device("CPU:0"):  # each step reads them
            self.skipped, self.in_row, self.good_steps = count("skipped"), count("in_row"), count("good_steps")
            self.scale = tf.Variable(_FIRST_SCALE if self._scales else 1.0, trainable=False, name="scale")
        self.unscalable = 0

    def record_applied(self) -> None:
        """Counts a step that was applied."""
        if int(self.in_row):
            self.in_row.assign(0)
        if self._scales:
            self.good_steps.assign_add(1)
            if int(self.good_steps) >= _DOUBLE_AFTER:
                self._rescale(2.0)

    def record_skipped(self, loss_is_finite: bool) -> None:
        """Counts a step that was skipped."""
        self.skipped.assign_add(1)
        if self._scales and loss_is_finite and float(self.scale) > 1.0:
            self._rescale(0.5)
        else:
            self.in_row.assign_add(1)
            self.unscalable += 1

    def _rescale(self, factor: float) -> None:
        self.scale.assign(tf.clip_by_value(self.scale * factor, 1.0, _LARGEST_SCALE))
        self.good_steps.assign(0)
