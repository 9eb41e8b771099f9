"""Quantized weights of an export: stored as float32, bfloat16 or int8, computed with as float32."""

from typing import Any

import tensorflow as tf

# Always float32: they are small, and errors in them change the expert or the task that is chosen.
_FULL_PRECISION = ("gate", "noise_scale", "commands", "places")


class StoredWeight(tf.Module):
    """A weight stored in a given type and dequantized to float32 in the graph.

    int8 is symmetric, with a scale for each output channel, whose largest value becomes 127. Weights of one axis, such
    as the scales of norms, stay float32, and so do the experts' gates, the commands and the places.

    Args:
      weight: a Keras variable.
      kind: "float32", "bfloat16" or "int8".
    """

    def __init__(self, weight: Any, kind: str):
        super().__init__()
        value = tf.convert_to_tensor(weight.value)
        self.kind = kind if len(value.shape) > 1 and weight.name not in _FULL_PRECISION else "float32"
        if self.kind == "int8":
            largest = tf.reduce_max(tf.abs(value), _summed_axes(weight), keepdims=True)
            scale = tf.where(largest > 0, largest / 127.0, 1.0)
            self.scale = tf.Variable(scale, trainable=False, name="scale")
            value = tf.round(value / scale)
        self.stored = tf.Variable(tf.cast(value, self.kind), trainable=False, name=weight.name)

    def value(self) -> tf.Tensor:
        """Returns the dequantized weight, float32."""
        value = tf.cast(self.stored, tf.float32)
        return value * self.scale if self.kind == "int8" else value

    @property
    def size(self) -> int:
        """The number of bytes stored."""
        return sum(variable.dtype.size * variable.shape.num_elements() for variable in self.variables)


def _summed_axes(weight: Any) -> list[int]:
    """Returns the axes over which the use of a weight sums; the others index its output channels."""
    if weight.name == "embedding":  # (V, D): each row is an output channel, both looked up and in the shared softmax
        return [1]
    if weight.name == "depthwise":  # (rows, columns, channels, 1)
        return [0, 1]
    return [-2]  # (..., in, out)
