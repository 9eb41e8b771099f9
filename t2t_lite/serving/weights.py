"""Weights as an export stores them."""

from typing import Any

import tensorflow as tf

# Small, and answers hang on them: which expert is asked, what is asked for.
_KEPT = ("gate", "noise_scale", "commands")


class StoredWeight(tf.Module):
    """A weight in a narrow type, and as float32 again in the graph.

    int8 is symmetric: each output channel has a scale, so that its largest value is 127. What has one axis, such as
    the scales of norms, stays float32, and so do the experts' gates and the commands.

    Args:
      weight: a Keras variable.
      kind: "float32", "bfloat16" or "int8".
    """

    def __init__(self, weight: Any, kind: str):
        super().__init__()
        value = tf.convert_to_tensor(weight.value)
        self.kind = kind if len(value.shape) > 1 and weight.name not in _KEPT else "float32"
        if self.kind == "int8":
            largest = tf.reduce_max(tf.abs(value), _summed_over(weight), keepdims=True)
            scale = tf.where(largest > 0, largest / 127.0, 1.0)
            self.scale = tf.Variable(scale, trainable=False, name="scale")
            value = tf.round(value / scale)
        self.stored = tf.Variable(tf.cast(value, self.kind), trainable=False, name=weight.name)

    def value(self) -> tf.Tensor:
        """The weight that the network computes with, float32."""
        value = tf.cast(self.stored, tf.float32)
        return value * self.scale if self.kind == "int8" else value

    @property
    def size(self) -> int:
        """Bytes stored."""
        return sum(variable.dtype.size * variable.shape.num_elements() for variable in self.variables)


def _summed_over(weight: Any) -> list[int]:
    """The axes that a weight is summed over where it is used; the others make its output channels."""
    if weight.name == "embedding":  # (V, D): a row a piece, looked up or, shared with the softmax, its output channel
        return [1]
    if weight.name == "depthwise":  # (rows, columns, channels, 1)
        return [0, 1]
    return [-2]  # (..., in, out)
