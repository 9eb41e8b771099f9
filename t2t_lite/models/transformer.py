"""A plain pre-norm Transformer with the MultiModel's modality nets, commands, decoding and export.

Shapes: B batch, S input positions, T target positions, D hidden.

Blocks are kept in tuples, because tf.train.Checkpoint does not track lists inside Keras layers.
"""

from typing import Any

import tensorflow as tf

from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.hparams.transformers import UNREAD
from t2t_lite.layers import attention_steps
from t2t_lite.layers.attention import MultiHeadAttention
from t2t_lite.layers.convolution import LayerNorm
from t2t_lite.layers.layer import Layer
from t2t_lite.layers.noise import dropout
from t2t_lite.layers.timing import timing_signal
from t2t_lite.layers.transformer_block import DecoderBlock, EncoderBlock
from t2t_lite.models.base_body import BaseBody
from t2t_lite.models.model import Model


class TransformerEncoder(Layer):
    """Adds the timing signal, then runs EncoderBlocks and a last layer norm."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        size, self.dropout = hparams.hidden_size, hparams.dropout
        self.blocks = tuple(
            EncoderBlock(
                size, hparams.filter_size, hparams.num_heads, dropout=hparams.dropout, name=f"{self.name}.block{i}"
            )
            for i in range(hparams.encoder_blocks)
        )
        self.norm = LayerNorm(size, name=f"{self.name}.norm")

    def call(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """(B, S, D), valid (B, S) -> (B, S, D)."""
        x = x + tf.cast(timing_signal(tf.shape(x)[1], x.shape[-1]), x.dtype)
        x = dropout(x, self.dropout, noise, f"{self.name}.inputs")
        for block in self.blocks:
            x = block(x, valid=valid, noise=noise)
        return self.norm(x)


class TransformerDecoder(Layer):
    """Adds the timing signal, then runs DecoderBlocks and a last layer norm."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        size, self.dropout = hparams.hidden_size, hparams.dropout
        self.blocks = tuple(
            DecoderBlock(
                size, hparams.filter_size, hparams.num_heads, dropout=hparams.dropout, name=f"{self.name}.block{i}"
            )
            for i in range(hparams.decoder_blocks)
        )
        self.norm = LayerNorm(size, name=f"{self.name}.norm")

    def call(self, x: tf.Tensor, encoded: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """(B, T, D), (B, S, D), valid (B, S) -> (B, T, D)."""
        x = x + tf.cast(timing_signal(tf.shape(x)[1], x.shape[-1]), x.dtype)
        x = dropout(x, self.dropout, noise, f"{self.name}.inputs")
        for block in self.blocks:
            x = block(x, source=encoded, source_valid=valid, noise=noise)
        return self.norm(x)

    def step(self, x: tf.Tensor, states: list[Any], position: tf.Tensor) -> tuple[tf.Tensor, list[Any]]:
        """One position: (B, D), the blocks' states -> (B, D), their next states."""
        x = x + tf.cast(timing_signal(1, x.shape[-1], position), x.dtype)
        following = []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block.step(x, state, position)
            following.append(state)
        return self.norm(x), following


class TransformerBody(BaseBody):
    """Encoder and decoder of the Transformer (Vaswani et al. 2017, section 3)."""

    kind = "transformer"

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        self.encoder = TransformerEncoder(hparams, name=f"{self.name}.encoder")
        self.decoder = TransformerDecoder(hparams, name=f"{self.name}.decoder")
        self.encoder_attentions = hparams.encoder_blocks

    @property
    def decoder_parts(self) -> tuple[Layer, ...]:
        """See BaseBody.decoder_parts."""
        return (self.decoder,)

    def encode(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See BaseBody.encode."""
        return self.encoder(x, valid=valid, noise=noise), tf.zeros([3, 1])

    def decode(
        self,
        targets: tf.Tensor,
        encoded: tf.Tensor,
        valid: tf.Tensor,
        command: tf.Tensor,
        target_valid: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See BaseBody.decode."""
        x = tf.concat([command[:, None], targets[:, :-1]], axis=1)
        return self.decoder(x, encoded=encoded, valid=valid, noise=noise), tf.zeros([3, 1])

    def source_attentions(self) -> dict[str, MultiHeadAttention]:
        """See BaseBody.source_attentions."""
        return {block.name: block.source_attention for block in self.decoder.blocks}

    def initial_state(
        self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor, beams: int = 1
    ) -> dict[str, Any]:
        """See BaseBody.initial_state: the attentions' keys and values."""
        blocks = [block.initial_state(encoded, valid, max_length, beams) for block in self.decoder.blocks]
        return {"position": tf.zeros([], tf.int32), "blocks": blocks}

    def select_beams(self, state: dict[str, Any], rows: tf.Tensor) -> dict[str, Any]:
        """See BaseBody.select_beams."""
        return state | {"blocks": [attention_steps.select_beams(each, rows) for each in state["blocks"]]}

    def select_inputs(self, state: dict[str, Any], inputs: tf.Tensor, beams: int = 1) -> dict[str, Any]:
        """See BaseBody.select_inputs."""
        return state | {"blocks": [attention_steps.select_inputs(each, inputs) for each in state["blocks"]]}

    def step(self, x: tf.Tensor, state: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        """See BaseBody.step."""
        x, blocks = self.decoder.step(x, state["blocks"], state["position"])
        return x, {"position": state["position"] + 1, "blocks": blocks}


@registry.models.register
class Transformer(Model):
    """A plain pre-norm Transformer (Vaswani et al. 2017) with the MultiModel's modality nets and commands."""

    unread_hparams = UNREAD

    def make_body(self) -> TransformerBody:
        """See Model.make_body."""
        return TransformerBody(self.hparams, name="body")
