"""The exponential moving average of weights."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class MovingAverage(tf.Module):
    """A shadow of every weight that follows it: shadow = d * shadow + (1 - d) * weight after each step.

    All shadows follow at every step, those of nets that the step's problem does not use included: all then average
    over the same stretch of training, and a net that is seldom drawn is evaluated with the body of its own time. (A
    shadow that followed its net's own steps alone would reach further back than the body's.)

    d is min(decay, (1 + n) / (10 + n)) at the n-th update, so that the first weights are soon forgotten.

    Args:
      decay: what d grows to; 0.999 averages over about the last thousand steps.
      variables: the weights.
    """

    def __init__(self, decay: float, variables: Sequence[keras.Variable]):
        super().__init__(name="moving_average")
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
        self.shadows = [tf.Variable(tf.convert_to_tensor(v), trainable=False, name="shadow") for v in variables]
        self._decay = decay
        self._variables = list(variables)

    def update(self) -> None:
        """Moves all shadows by one step."""
        n = tf.cast(self.updates.assign_add(1), tf.float32) - 1.0
        follow = 1.0 - tf.minimum(self._decay, (1.0 + n) / (10.0 + n))
        for shadow, variable in zip(self.shadows, self._variables, strict=True):
            # One kernel for shadow -= follow * (shadow - variable).
            tf.raw_ops.ResourceApplyGradientDescent(var=shadow.handle, alpha=follow, delta=shadow - variable)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the weights are their averages; afterwards bit for bit what they were. Save no checkpoint inside."""
        raw = [tf.convert_to_tensor(variable) for variable in self._variables]
        try:
            for variable, shadow in zip(self._variables, self.shadows, strict=True):
                variable.assign(tf.convert_to_tensor(shadow))
            yield
        finally:
            for variable, value in zip(self._variables, raw, strict=True):
                variable.assign(value)
