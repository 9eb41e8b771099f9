"""Multi-head attention and the attention block (paper, section 2.3).

Shapes: B batch, S input (source) positions, T target positions, D hidden, H heads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.layers.convolution import ConvBlock, LayerNorm
from t2t_lite.layers.layer import Layer, call_shared
from t2t_lite.layers.timing import timing_signal


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
        key, value = self._values(self.key, self.value)
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
        query, output = self._values(self.query, self.out)
        return _attend(x, keys, values, allowed, query, output, self.watch)

    def call(self, x: tf.Tensor, memory: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """Queries (B, T, D), memory (B, S, D), allowed as in `attend` -> (B, T, D)."""
        if self.watch:
            return self.attend(x, *self.project_memory(memory), allowed)
        weights = self._values(self.query, self.key, self.value, self.out)
        return call_shared(_attention, self.num_heads, {"x": x, "memory": memory, "allowed": allowed}, weights)

    def empty_cache(self, batch: tf.Tensor, max_length: tf.Tensor) -> dict[str, tf.Tensor]:
        """Keys and values of no position, with room for max_length: each (B, H, max_length, D / H)."""
        empty = tf.zeros([batch, self.num_heads, max_length, self.head_size], self.compute_dtype)
        return {"keys": empty, "values": empty}

    def memory_cache(self, memory: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
        """The arguments of `attend_from_row` for a whole memory (B, S, D), valid (B, S)."""
        keys, values = (tf.transpose(x, [0, 2, 1, 3]) for x in self.project_memory(memory))
        return {"keys": keys, "values": values, "allowed": valid[:, None, None, :]}

    def attend_from_row(self, x: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        """`attend` for one query of each example, with keys and values in the order in which products read them.

        Args:
          x: the queries (B, D).
          keys: (B, H, S, D / H).
          values: (B, H, S, D / H).
          allowed: True where a query may attend to a key; broadcast to (B, H, 1, S).

        Returns:
          (B, D).
        """
        query, output = self._values(self.query, self.out)
        queries = self._row_of_heads(x, query) * self.head_size**-0.5
        scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
        weights = tf.nn.softmax(tf.where(allowed, scores, -1e9))
        mixed = tf.matmul(tf.cast(weights, x.dtype), values)  # (B, H, 1, D / H)
        return tf.matmul(tf.reshape(mixed, [-1, x.shape[-1]]), output)

    def attend_to_past(
        self, x: tf.Tensor, cache: dict[str, tf.Tensor], position: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Causal self-attention of one position: (B, D), cache -> (B, D), the cache with this position."""
        key, value = self._values(self.key, self.value)
        places = tf.range(tf.shape(cache["keys"])[2])
        is_current = (places == position)[:, None]
        keys = tf.where(is_current, self._row_of_heads(x, key), cache["keys"])
        values = tf.where(is_current, self._row_of_heads(x, value), cache["values"])
        return self.attend_from_row(x, keys, values, places <= position), {"keys": keys, "values": values}

    def _row_of_heads(self, x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """(B, D) by (D, D) -> (B, H, 1, D / H)."""
        return tf.reshape(tf.matmul(x, weight), [-1, self.num_heads, 1, self.head_size])

    def _values(self, *weights: keras.Variable) -> list[tf.Tensor]:
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


class AttentionBlock(Layer):
    """Causal self-attention over the target, then attention to the source (paper, section 2.3).

        mixed = ConvBlocks(target + timing signal)
        self_attended = mixed + SelfAttention(LN(mixed))
        output = self_attended + Attention(LN(self_attended), source)

    The paper does not specify residual connections or norms around the attentions; these are our choice.
    With `use_attention=False` (paper, table 4) a pointwise convolution of the source's mean replaces both attentions.

    Args:
      hidden_size: D.
      num_heads: H.
      conv_blocks: the number of causal ConvBlocks over the target; 2 in the paper.
      use_attention: False replaces both attentions, as described above.
      conv_options: the ConvBlocks' dropout, dropout_place and residual_scale.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        conv_blocks: int = 2,
        use_attention: bool = True,
        conv_options: dict[str, Any],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.hidden_size, self.use_attention = hidden_size, use_attention
        # A tuple, because tf.train.Checkpoint does not track lists inside Keras layers.
        self.conv_blocks = tuple(
            ConvBlock(hidden_size, causal=True, **conv_options, name=f"{self.name}.conv{i}") for i in range(conv_blocks)
        )
        if use_attention:
            self.self_norm = LayerNorm(hidden_size, name=f"{self.name}.self_norm")
            self.self_attention = MultiHeadAttention(hidden_size, num_heads, name=f"{self.name}.self_attention")
            self.source_norm = LayerNorm(hidden_size, name=f"{self.name}.source_norm")
            self.source_attention = MultiHeadAttention(hidden_size, num_heads, name=f"{self.name}.source_attention")
        else:
            self.pooled = self.add_weight(name="pooled", shape=(hidden_size, hidden_size), initializer="glorot_uniform")

    def call(
        self, target: tf.Tensor, source: tf.Tensor, source_valid: tf.Tensor, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Target (B, T, D), source (B, S, D), source_valid (B, S), False at padding -> (B, T, D)."""
        length = tf.shape(target)[1]
        x = target + tf.cast(timing_signal(length, self.hidden_size), target.dtype)
        for block in self.conv_blocks:
            x = block(x, noise=noise)
        if not self.use_attention:
            return x + self._pool(source, source_valid)[:, None]
        normed = self.self_norm(x)
        x = x + self.self_attention(normed, memory=normed, allowed=causal_mask(length))
        return x + self.source_attention(self.source_norm(x), memory=source, allowed=source_valid[:, None, None, :])

    def initial_state(self, source: tf.Tensor, source_valid: tf.Tensor, max_length: tf.Tensor) -> dict[str, Any]:
        """The state of `step` before the first position, with room for max_length target positions."""
        if not self.use_attention:
            return {"pooled": self._pool(source, source_valid)}
        cache = self.self_attention.empty_cache(tf.shape(source)[0], max_length)
        return {"self": cache, "source": self.source_attention.memory_cache(source, source_valid)}

    def step(
        self, x: tf.Tensor, state: dict[str, Any], position: tf.Tensor, timing: tf.Tensor, convolutions: Any
    ) -> tuple[tf.Tensor, dict[str, Any]]:
        """Decodes one target position. Equals `call` at that position.

        Args:
          x: (B, D).
          state: from `initial_state` or the previous position.
          position: its number, from 0.
          timing: its timing signal (1, D).
          convolutions: a ConvolutionSteps that runs the ConvBlocks.

        Returns:
          (B, D) and the next state.
        """
        x = x + timing
        for block in self.conv_blocks:
            x = convolutions(block, x)
        if not self.use_attention:
            return x + state["pooled"], state
        attended, cache = self.self_attention.attend_to_past(self.self_norm(x), state["self"], position)
        x = x + attended
        x = x + self.source_attention.attend_from_row(self.source_norm(x), **state["source"])
        return x, state | {"self": cache}

    def _pool(self, source: tf.Tensor, source_valid: tf.Tensor) -> tf.Tensor:
        """The source's mean over valid positions, through a pointwise convolution: (B, S, D) -> (B, D)."""
        weight = tf.cast(source_valid, tf.float32)[:, :, None]  # bfloat16 cannot count beyond 256
        total = tf.reduce_sum(tf.cast(source, tf.float32) * weight, axis=1)
        mean = tf.cast(total / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0), source.dtype)
        return tf.matmul(mean, tf.cast(self.pooled, source.dtype))
