"""The body of the MultiModel: encoder, I/O mixer and decoder (paper, sections 2.1 and 2.5).

Shapes: B batch, S input positions, T target positions, D hidden, H heads, E experts.

Blocks are kept in tuples, because tf.train.Checkpoint does not track lists inside Keras layers.
"""

from typing import Any

import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.layers import attention_steps, convolution_steps
from t2t_lite.layers.attention import MultiHeadAttention
from t2t_lite.layers.attention_block import AttentionBlock
from t2t_lite.layers.convolution import ConvBlock, LayerNorm
from t2t_lite.layers.convolution_steps import ConvolutionSteps
from t2t_lite.layers.experts import MixtureOfExperts
from t2t_lite.layers.layer import Layer
from t2t_lite.layers.timing import timing_signal
from t2t_lite.models.base_body import BaseBody


def _conv_options(hparams: HParams) -> dict[str, Any]:
    return {
        "dropout": hparams.dropout,
        "dropout_place": hparams.dropout_place,
        "residual_scale": hparams.residual_scale,
        "recompute": hparams.recompute,
    }


class Experts(Layer):
    """`x + MixtureOfExperts(LN(x))`; the paper does not specify the residual connection and its norm."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        self.norm = LayerNorm(hparams.hidden_size, name=f"{self.name}.norm")
        self.experts = MixtureOfExperts(
            hparams.hidden_size,
            hparams.filter_size,
            hparams.num_experts,
            hparams.experts_per_position,
            gating_noise=hparams.gating_noise,
            name=f"{self.name}.experts",
        )

    def call(
        self, x: tf.Tensor, valid: tf.Tensor | None = None, noise: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, S, D), valid (B, S) -> (B, S, D), and sums (3, E) as from MixtureOfExperts."""
        y, sums = self.experts(self.norm(x), valid=valid, noise=noise)
        return x + y, sums

    def step(self, x: tf.Tensor) -> tf.Tensor:
        """One position: (B, D) -> (B, D)."""
        return x + self.experts.step(self.norm(x))


class Encoder(Layer):
    """Adds the timing signal, then runs ConvBlocks with a mixture of experts in the middle."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        options = _conv_options(hparams)
        self.blocks = tuple(
            ConvBlock(hparams.hidden_size, **options, name=f"{self.name}.block{i}")
            for i in range(hparams.encoder_blocks)
        )
        self.num_experts = hparams.num_experts
        self.experts = Experts(hparams, name=f"{self.name}.experts") if hparams.use_experts else None

    def call(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, S, D), valid (B, S) -> (B, S, D), and the experts' sums (3, E)."""
        x = x + tf.cast(timing_signal(tf.shape(x)[1], x.shape[-1]), x.dtype)
        sums = tf.zeros([3, self.num_experts])
        for i, block in enumerate(self.blocks):
            if self.experts and i == len(self.blocks) // 2:
                x, sums = self.experts(x, valid=valid, noise=noise)
            x = block(x, valid=valid, noise=noise)
        return x, sums


class Mixer(Layer):
    """The I/O mixer: an attention block from the previous outputs to the encoded input, then causal ConvBlocks."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        options = _conv_options(hparams)
        self.attention = AttentionBlock(
            hparams.hidden_size,
            hparams.num_heads,
            conv_blocks=hparams.attention_conv_blocks,
            use_attention=hparams.use_attention,
            conv_options=options,
            name=f"{self.name}.attention",
        )
        self.blocks = tuple(
            ConvBlock(hparams.hidden_size, causal=True, **options, name=f"{self.name}.block{i}")
            for i in range(hparams.mixer_blocks)
        )

    def call(self, x: tf.Tensor, encoded: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """(B, T, D), (B, S, D), valid (B, S) -> (B, T, D)."""
        x = self.attention(x, source=encoded, source_valid=valid, noise=noise)
        for block in self.blocks:
            x = block(x, noise=noise)
        return x


class Decoder(Layer):
    """Pairs of a causal ConvBlock and an attention block over the encoded input, a mixture of experts in the middle."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        options = _conv_options(hparams)
        self.blocks = tuple(
            ConvBlock(hparams.hidden_size, causal=True, **options, name=f"{self.name}.block{i}")
            for i in range(hparams.decoder_blocks)
        )
        self.attentions = tuple(
            AttentionBlock(
                hparams.hidden_size,
                hparams.num_heads,
                conv_blocks=hparams.attention_conv_blocks,
                use_attention=hparams.use_attention,
                conv_options=options,
                name=f"{self.name}.attention{i}",
            )
            for i in range(hparams.decoder_blocks)
        )
        self.num_experts = hparams.num_experts
        self.experts = Experts(hparams, name=f"{self.name}.experts") if hparams.use_experts else None
        self.norm = LayerNorm(hparams.hidden_size, name=f"{self.name}.norm") if hparams.final_norm else None

    def call(
        self,
        x: tf.Tensor,
        encoded: tf.Tensor,
        valid: tf.Tensor,
        target_valid: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, T, D), (B, S, D), masks (B, S) and (B, T) -> (B, T, D) and the experts' sums (3, E)."""
        sums = tf.zeros([3, self.num_experts])
        for i, (block, attention) in enumerate(zip(self.blocks, self.attentions, strict=True)):
            if self.experts and i == len(self.blocks) // 2:
                x, sums = self.experts(x, valid=target_valid, noise=noise)
            x = attention(block(x, noise=noise), source=encoded, source_valid=valid, noise=noise)
        return (self.norm(x) if self.norm else x), sums


class Body(BaseBody):
    """Encoder, mixer and decoder of the MultiModel."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        self.encoder = Encoder(hparams, name=f"{self.name}.encoder")
        self.mixer = Mixer(hparams, name=f"{self.name}.mixer")
        self.decoder = Decoder(hparams, name=f"{self.name}.decoder")

    @property
    def decoder_parts(self) -> tuple[Layer, ...]:
        """See BaseBody.decoder_parts."""
        return self.mixer, self.decoder

    def encode(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See BaseBody.encode."""
        return self.encoder(x, valid=valid, noise=noise)

    def decode(
        self,
        targets: tf.Tensor,
        encoded: tf.Tensor,
        valid: tf.Tensor,
        command: tf.Tensor,
        target_valid: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See BaseBody.decode: mixer, then decoder."""
        x = tf.concat([command[:, None], targets[:, :-1]], axis=1)
        x = self.mixer(x, encoded=encoded, valid=valid, noise=noise)
        return self.decoder(x, encoded=encoded, valid=valid, target_valid=target_valid, noise=noise)

    def source_attentions(self) -> dict[str, MultiHeadAttention]:
        """See BaseBody.source_attentions."""
        blocks = [block for block in (self.mixer.attention, *self.decoder.attentions) if block.use_attention]
        return {block.name: block.source_attention for block in blocks}

    @property
    def _decoding_blocks(self) -> list[ConvBlock]:
        """The causal ConvBlocks in the order in which they run."""
        mixer, decoder = self.mixer, self.decoder
        blocks = [*mixer.attention.conv_blocks, *mixer.blocks]
        for block, attention in zip(decoder.blocks, decoder.attentions, strict=True):
            blocks += [block, *attention.conv_blocks]
        return blocks

    def initial_state(
        self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor, beams: int = 1
    ) -> dict[str, Any]:
        """See BaseBody.initial_state: past inputs of convolutions, keys and values of attentions."""
        attentions, rows = (self.mixer.attention, *self.decoder.attentions), tf.shape(encoded)[0] * beams
        return {
            "position": tf.zeros([], tf.int32),
            "convolutions": convolution_steps.initial_state(self._decoding_blocks, rows, reordered=beams > 1),
            "attentions": [block.initial_state(encoded, valid, max_length, beams) for block in attentions],
        }

    def select_beams(self, state: dict[str, Any], rows: tf.Tensor) -> dict[str, Any]:
        """See BaseBody.select_beams."""
        return state | {
            "convolutions": convolution_steps.select_rows(state["convolutions"], rows),
            "attentions": [attention_steps.select_beams(each, rows) for each in state["attentions"]],
        }

    def select_inputs(self, state: dict[str, Any], inputs: tf.Tensor, beams: int = 1) -> dict[str, Any]:
        """See BaseBody.select_inputs."""
        rows = tf.reshape(inputs[:, None] * beams + tf.range(beams), [-1])
        return state | {
            "convolutions": convolution_steps.select_rows(state["convolutions"], rows),
            "attentions": [attention_steps.select_inputs(each, inputs) for each in state["attentions"]],
        }

    def step(self, x: tf.Tensor, state: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        """See BaseBody.step."""
        mixer, decoder, position = self.mixer, self.decoder, state["position"]
        convolutions = ConvolutionSteps(self._decoding_blocks, state["convolutions"], position)
        timing = tf.cast(timing_signal(1, x.shape[-1], position), x.dtype)
        states = iter(state["attentions"])
        following = []

        def attend(block: AttentionBlock, x: tf.Tensor) -> tf.Tensor:
            x, after = block.step(x, next(states), position, timing, convolutions)
            following.append(after)
            return x

        x = attend(mixer.attention, x)
        for block in mixer.blocks:
            x = convolutions(block, x)
        for i, (block, attention) in enumerate(zip(decoder.blocks, decoder.attentions, strict=True)):
            if decoder.experts and i == len(decoder.blocks) // 2:
                x = decoder.experts.step(x)
            x = attend(attention, convolutions(block, x))
        x = decoder.norm(x) if decoder.norm else x
        return x, {"position": position + 1, "convolutions": convolutions.next_state(), "attentions": following}
