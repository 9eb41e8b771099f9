"""The blocks of a pre-norm Transformer (Vaswani et al. 2017, "Attention is all you need", section 3).

Each layer norm is on the input of a sub-layer, not on the sum as in the paper: deep stacks then train without a long
warm-up (Xiong et al. 2020, "On layer normalization in the Transformer architecture").

Shapes: B batch, S input positions, T target positions, D hidden, F filter size, H heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from t2t_lite.layers import attention_steps
from t2t_lite.layers.attention import MultiHeadAttention, causal_mask
from t2t_lite.layers.convolution import LayerNorm
from t2t_lite.layers.layer import Layer, call_shared
from t2t_lite.layers.noise import dropout


class FeedForward(Layer):
    """`ReLU(x W1 + b1) W2 + b2`, the same at each position (paper, section 3.3).

    Args:
      hidden_size: D.
      filter_size: F.
    """

    def __init__(self, hidden_size: int, filter_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.expand = self.add_weight(name="expand", shape=(hidden_size, filter_size), initializer="glorot_uniform")
        self.expand_bias = self.add_weight(name="expand_bias", shape=(filter_size,), initializer="zeros")
        self.contract = self.add_weight(name="contract", shape=(filter_size, hidden_size), initializer="glorot_uniform")
        self.contract_bias = self.add_weight(name="contract_bias", shape=(hidden_size,), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(B, S, D) -> (B, S, D)."""
        weights = (self.expand, self.expand_bias, self.contract, self.contract_bias)
        return call_shared(_feed_forward, None, {"x": x}, [tf.cast(w, self.compute_dtype) for w in weights])


def _feed_forward(_: None, tensors: Mapping[str, tf.Tensor], weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """FeedForward as a function of its weights."""
    expand, expand_bias, contract, contract_bias = weights
    x = tensors["x"]
    # A product of rows: the gradient of a batched product by one matrix would be a batch of matrices, then their sum.
    rows = tf.reshape(x, [-1, x.shape[-1]])
    hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(rows, expand), expand_bias))
    return tf.reshape(tf.nn.bias_add(tf.matmul(hidden, contract), contract_bias), tf.shape(x))


class EncoderBlock(Layer):
    """Self-attention over the input, then the feed-forward network.

        attended = x + Dropout(SelfAttention(LN(x)))
        output = attended + Dropout(FeedForward(LN(attended)))

    Args:
      hidden_size: D.
      filter_size: F.
      num_heads: H.
      dropout: the rate in training.
    """

    def __init__(self, hidden_size: int, filter_size: int, num_heads: int, *, dropout: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.self_norm = LayerNorm(hidden_size, name=f"{self.name}.self_norm")
        self.self_attention = MultiHeadAttention(hidden_size, num_heads, name=f"{self.name}.self_attention")
        self.feed_norm = LayerNorm(hidden_size, name=f"{self.name}.feed_norm")
        self.feed_forward = FeedForward(hidden_size, filter_size, name=f"{self.name}.feed_forward")

    def call(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """(B, S, D), valid (B, S), False at padding, which is not attended to -> (B, S, D)."""
        normed = self.self_norm(x)
        attended = self.self_attention(normed, memory=normed, allowed=valid[:, None, None, :])
        x = x + dropout(attended, self.dropout, noise, f"{self.name}.self")
        return x + dropout(self.feed_forward(self.feed_norm(x)), self.dropout, noise, f"{self.name}.feed")


class DecoderBlock(Layer):
    """Causal self-attention over the target, attention to the encoded input, then the feed-forward network.

        attended = x + Dropout(SelfAttention(LN(x)))
        informed = attended + Dropout(Attention(LN(attended), source))
        output = informed + Dropout(FeedForward(LN(informed)))

    Args:
      hidden_size: D.
      filter_size: F.
      num_heads: H.
      dropout: the rate in training.
    """

    def __init__(self, hidden_size: int, filter_size: int, num_heads: int, *, dropout: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.dropout = dropout
        self.self_norm = LayerNorm(hidden_size, name=f"{self.name}.self_norm")
        self.self_attention = MultiHeadAttention(hidden_size, num_heads, name=f"{self.name}.self_attention")
        self.source_norm = LayerNorm(hidden_size, name=f"{self.name}.source_norm")
        self.source_attention = MultiHeadAttention(hidden_size, num_heads, name=f"{self.name}.source_attention")
        self.feed_norm = LayerNorm(hidden_size, name=f"{self.name}.feed_norm")
        self.feed_forward = FeedForward(hidden_size, filter_size, name=f"{self.name}.feed_forward")

    def call(
        self, x: tf.Tensor, source: tf.Tensor, source_valid: tf.Tensor, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Target (B, T, D), source (B, S, D), source_valid (B, S), False at padding -> (B, T, D)."""
        normed = self.self_norm(x)
        attended = self.self_attention(normed, memory=normed, allowed=causal_mask(tf.shape(x)[1]))
        x = x + dropout(attended, self.dropout, noise, f"{self.name}.self")
        allowed = source_valid[:, None, None, :]
        attended = self.source_attention(self.source_norm(x), memory=source, allowed=allowed)
        x = x + dropout(attended, self.dropout, noise, f"{self.name}.source")
        return x + dropout(self.feed_forward(self.feed_norm(x)), self.dropout, noise, f"{self.name}.feed")

    def initial_state(
        self, source: tf.Tensor, source_valid: tf.Tensor, max_length: tf.Tensor, beams: int = 1
    ) -> dict[str, Any]:
        """The decoding state before the first position, with room for max_length target positions."""
        attentions = self.self_attention, self.source_attention
        return attention_steps.initial_state(*attentions, source, source_valid, max_length, beams)

    def step(self, x: tf.Tensor, state: dict[str, Any], position: tf.Tensor) -> tuple[tf.Tensor, dict[str, Any]]:
        """Decodes one target position: (B, D), state -> (B, D), next state. Equals `call` at that position."""
        attended, state = attention_steps.attend_to_past(self.self_attention, self.self_norm(x), state, position)
        x = x + attended
        x = x + attention_steps.attend_to_source(self.source_attention, self.source_norm(x), state)
        return x + self.feed_forward(self.feed_norm(x)[:, None])[:, 0], state
