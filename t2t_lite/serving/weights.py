"""Quantized weights of an export: stored as float32, bfloat16 or int8, computed with as float32."""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

# Always float32: they are small, and errors in them change the expert or the task that is chosen.
_FULL_PRECISION = ("gate", "noise_scale", "commands", "places")


class StoredWeight(tf.Module):
    """A weight stored in a given type.

    int8 is symmetric, with a scale for each output channel, whose largest value becomes 127. Weights of one axis, such
    as the scales of norms, stay float32, and so do the experts' gates, the commands and segment embeddings.

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


class DequantizedWeights(tf.saved_model.experimental.TrackableResource):
    """Stored weights in float32. A SavedModel does not store these values, but computes them once, when it is loaded.

    They cannot be read in the process that exports, so that it needs no memory for them.

    They are one list in one variable: a variable for each, with the functions that a resource needs, makes loading the
    eight problems of a small model take 1.5 times as long.

    Args:
      weights: {id of a weight of the model: its stored form}.
    """

    def __init__(self, weights: Mapping[int, StoredWeight]):
        super().__init__()
        self._places = {key: i for i, key in enumerate(weights)}
        self._weights = list(weights.values())
        _ = self.resource_handle  # made here: made first inside a function, it would belong to that one

    def read(self, keys: Iterable[int]) -> list[tf.Tensor]:
        """Returns the weights of some keys, float32."""
        values = tf.raw_ops.ReadVariableOp(resource=self.resource_handle, dtype=tf.variant)
        return [self._value(values, self._places[key]) for key in keys]

    def _value(self, values: tf.Tensor, place: int) -> tf.Tensor:
        shape = self._weights[place].stored.shape
        value = tf.raw_ops.TensorListGetItem(
            input_handle=values, index=place, element_shape=shape, element_dtype=tf.float32
        )
        return tf.ensure_shape(value, shape)

    # The methods that TrackableResource calls. Each loaded export has its own variable: loading makes the name unique.
    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(dtype=tf.variant, shape=[], shared_name="dequantized")

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)

    def _initialize(self) -> None:
        values = tf.raw_ops.TensorListReserve(
            element_shape=tf.constant(-1), num_elements=len(self._weights), element_dtype=tf.float32
        )
        for i, weight in enumerate(self._weights):
            values = tf.raw_ops.TensorListSetItem(input_handle=values, index=i, item=weight.value())
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=values)


def _summed_axes(weight: Any) -> list[int]:
    """Returns the axes over which the use of a weight sums; the others index its output channels."""
    if weight.name == "embedding":  # (V, D): each row is an output channel, both looked up and in the shared softmax
        return [1]
    if weight.name == "depthwise":  # (rows, columns, channels, 1)
        return [0, 1]
    return [-2]  # (..., in, out)
