"""The attention block (paper, section 2.3).

Shapes: B batch, S input (source) positions, T target positions, D hidden, H heads.
"""

from typing import Any

import tensorflow as tf

from t2t_lite.layers import attention_steps
from t2t_lite.layers.attention import MultiHeadAttention, causal_mask
from t2t_lite.layers.convolution import ConvBlock, LayerNorm
from t2t_lite.layers.layer import Layer
from t2t_lite.layers.timing import timing_signal


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

    def initial_state(
        self, source: tf.Tensor, source_valid: tf.Tensor, max_length: tf.Tensor, beams: int = 1
    ) -> dict[str, Any]:
        """The state of `step` before the first position, with room for max_length target positions."""
        if not self.use_attention:
            return {"pooled": tf.tile(self._pool(source, source_valid)[:, None], [1, beams, 1])}  # (B, K, D)
        attentions = self.self_attention, self.source_attention
        return attention_steps.initial_state(*attentions, source, source_valid, max_length, beams)

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
            return x + tf.reshape(state["pooled"], tf.shape(x)), state
        attended, state = attention_steps.attend_to_past(self.self_attention, self.self_norm(x), state, position)
        x = x + attended
        return x + attention_steps.attend_to_source(self.source_attention, self.source_norm(x), state), state

    def _pool(self, source: tf.Tensor, source_valid: tf.Tensor) -> tf.Tensor:
        """The source's mean over valid positions, through a pointwise convolution: (B, S, D) -> (B, D)."""
        weight = tf.cast(source_valid, tf.float32)[:, :, None]  # bfloat16 cannot count beyond 256
        total = tf.reduce_sum(tf.cast(source, tf.float32) * weight, axis=1)
        mean = tf.cast(total / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0), source.dtype)
        return tf.matmul(mean, tf.cast(self.pooled, source.dtype))
