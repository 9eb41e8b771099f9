"""The exponential moving average of weights."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class MovingAverage(tf.Module):
    """Keeps an average (shadow) of every weight: shadow = d * shadow + (1 - d) * weight after each step.

    All shadows move at every step, also those of nets that the step's problem does not use, so that all average over
    the same steps. (If the shadow of a rarely trained net moved at that net's steps alone, it would reach further back
    than the body's.)

    d is min(decay, (1 + n) / (10 + n)) at update n, so that the initial weights fade quickly.

    Args:
      decay: the largest d; 0.999 averages over about the last thousand steps.
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
        rate = 1.0 - tf.minimum(self._decay, (1.0 + n) / (10.0 + n))
        for shadow, variable in zip(self.shadows, self._variables, strict=True):
            # One kernel for shadow -= rate * (shadow - variable).
            tf.raw_ops.ResourceApplyGradientDescent(var=shadow.handle, alpha=rate, delta=shadow - variable)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Replaces the weights by their averages inside the block, and restores them bit for bit after it.

        Save no checkpoint inside.
        """
        raw = [tf.convert_to_tensor(variable) for variable in self._variables]
        try:
            for variable, shadow in zip(self._variables, self.shadows, strict=True):
                variable.assign(tf.convert_to_tensor(shadow))
            yield
        finally:
            for variable, value in zip(self._variables, raw, strict=True):
                variable.assign(value)
