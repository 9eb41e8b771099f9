"""Multi-head attention (paper, section 2.3).

Shapes: B batch, S input (source) positions, T target positions, D hidden, H heads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.layers.layer import Layer, call_shared


class MultiHeadAttention(Layer):
    """Multi-head dot-product attention from a query sequence to a memory sequence (paper, section 2.3).

    Args:
      hidden_size: D.
      num_heads: H; each head has D / H channels.
    """

    def __init__(self, hidden_size: int, num_heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads, self.head_size = num_heads, hidden_size // num_heads
        weights = {
            name: self.add_weight(name=name, shape=(hidden_size, hidden_size), initializer="glorot_uniform")
            for name in ("query", "key", "value", "output")
        }
        self.query, self.key, self.value = weights["query"], weights["key"], weights["value"]
        self.out = weights["output"]
        self.watch: Callable[[tf.Tensor], None] | None = None  # called with the attention weights (B, H, T, S)

    def project_memory(self, memory: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Memory (B, S, D) -> keys and values, each (B, S, H, D / H), by two pointwise convolutions."""
        key, value = self.cast_weights(self.key, self.value)
        return _heads(memory, key, self.num_heads), _heads(memory, value, self.num_heads)

    def attend(self, x: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """Attends with keys and values already projected.

        Args:
          x: the queries (B, T, D).
          keys: (B, S, H, D / H).
          values: (B, S, H, D / H).
          allowed: True where a query may attend to a key; broadcast to (B, H, T, S).

        Returns:
          (B, T, D).
        """
        query, output = self.cast_weights(self.query, self.out)
        return _attend(x, keys, values, allowed, query, output, self.watch)

    def call(self, x: tf.Tensor, memory: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """Queries (B, T, D), memory (B, S, D), allowed as in `attend` -> (B, T, D)."""
        if self.watch:
            return self.attend(x, *self.project_memory(memory), allowed)
        weights = self.cast_weights(self.query, self.key, self.value, self.out)
        return call_shared(_attention, self.num_heads, {"x": x, "memory": memory, "allowed": allowed}, weights)

    def cast_weights(self, *weights: keras.Variable) -> list[tf.Tensor]:
        """The weights in the compute dtype."""
        return [tf.cast(weight, self.compute_dtype) for weight in weights]


def causal_mask(length: tf.Tensor) -> tf.Tensor:
    """(T, T), True where a position may attend to another: to itself and those before."""
    return tf.linalg.band_part(tf.ones([length, length], tf.bool), -1, 0)


def _attention(num_heads: int, tensors: Mapping[str, tf.Tensor], weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """MultiHeadAttention as a function of its weights; tensors: x, memory and allowed."""
    query, key, value, output = weights
    keys, values = (_heads(tensors["memory"], weight, num_heads) for weight in (key, value))
    return _attend(tensors["x"], keys, values, tensors["allowed"], query, output)


def _attend(
    x: tf.Tensor,
    keys: tf.Tensor,
    values: tf.Tensor,
    allowed: tf.Tensor,
    query: tf.Tensor,
    output: tf.Tensor,
    watch: Callable[[tf.Tensor], None] | None = None,
) -> tf.Tensor:
    num_heads, head_size = keys.shape[2:]
    queries = _heads(x, query, num_heads) * head_size**-0.5
    scores = tf.cast(tf.einsum("bthc,bshc->bhts", queries, keys), tf.float32)
    weights = tf.nn.softmax(tf.where(allowed, scores, -1e9))
    if watch:
        watch(weights)
    mixed = tf.einsum("bhts,bshc->bthc", tf.cast(weights, x.dtype), values)
    return tf.reshape(tf.matmul(tf.reshape(mixed, [-1, num_heads * head_size]), output), tf.shape(x))


def _heads(x: tf.Tensor, weight: tf.Tensor, num_heads: int) -> tf.Tensor:
    """(B, S, D) by (D, D) -> (B, S, H, D / H)."""
    # A product of rows: the gradient of a batched product by one matrix would be a batch of matrices, then their sum.
    size = weight.shape[0]
    projected = tf.matmul(tf.reshape(x, [-1, size]), weight)
    return tf.reshape(projected, tf.concat([tf.shape(x)[:2], [num_heads, size // num_heads]], 0))
