"""The body of the MultiModel: encoder, I/O mixer and decoder (paper, sections 2.1 and 2.5).

Shapes: B batch, S input positions, T target positions, D hidden, H heads, E experts.

Blocks are kept in tuples, because tf.train.Checkpoint does not track lists inside Keras layers.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.layers.attention import AttentionBlock
from t2t_lite.layers.convolution import ConvBlock, LayerNorm
from t2t_lite.layers.experts import MixtureOfExperts
from t2t_lite.layers.layer import Layer
from t2t_lite.layers.timing import timing_signal


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

    def initial_state(self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor) -> dict[str, Any]:
        """The decoding state before the first position."""
        return {
            "attention": self.attention.initial_state(encoded, valid, max_length),
            "blocks": [block.initial_state(tf.shape(encoded)[0]) for block in self.blocks],
        }

    def step(self, x: tf.Tensor, state: dict[str, Any], position: tf.Tensor) -> tuple[tf.Tensor, dict[str, Any]]:
        """One position: (B, D), state -> (B, D), next state."""
        x, attention = self.attention.step(x, state["attention"], position)
        windows = []
        for block, window in zip(self.blocks, state["blocks"], strict=True):
            x, window = block.step(x, window)
            windows.append(window)
        return x, {"attention": attention, "blocks": windows}


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

    def initial_state(self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor) -> dict[str, Any]:
        """The decoding state before the first position."""
        return {
            "blocks": [block.initial_state(tf.shape(encoded)[0]) for block in self.blocks],
            "attentions": [a.initial_state(encoded, valid, max_length) for a in self.attentions],
        }

    def step(self, x: tf.Tensor, state: dict[str, Any], position: tf.Tensor) -> tuple[tf.Tensor, dict[str, Any]]:
        """One position: (B, D), state -> (B, D), next state."""
        windows, attended = [], []
        for i, (block, attention) in enumerate(zip(self.blocks, self.attentions, strict=True)):
            if self.experts and i == len(self.blocks) // 2:
                x = self.experts(x[:, None])[0][:, 0]
            x, window = block.step(x, state["blocks"][i])
            x, attention_state = attention.step(x, state["attentions"][i], position)
            windows.append(window)
            attended.append(attention_state)
        return (self.norm(x) if self.norm else x), {"blocks": windows, "attentions": attended}


class Body(Layer):
    """Encoder, mixer and decoder: the part of the network that all problems share."""

    def __init__(self, hparams: HParams, **kwargs: Any):
        super().__init__(**kwargs)
        self.encoder = Encoder(hparams, name=f"{self.name}.encoder")
        self.mixer = Mixer(hparams, name=f"{self.name}.mixer")
        self.decoder = Decoder(hparams, name=f"{self.name}.decoder")

    def encode(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, S, D), valid (B, S) -> (B, S, D) and the experts' sums (3, E)."""
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
        """Mixer and decoder with teacher forcing: the output at position t depends only on targets before t.

        Args:
          targets: (B, T, D), embedded.
          encoded: (B, S, D).
          valid: (B, S), False at padding of the inputs.
          command: (B, D), the embedding that decoding starts from.
          target_valid: (B, T), False at padding, which is sent to no expert.
          noise: the seed (2,) of layers/noise.py, None outside training.

        Returns:
          (B, T, D), and the experts' sums (3, E).
        """
        x = tf.concat([command[:, None], targets[:, :-1]], axis=1)
        x = self.mixer(x, encoded=encoded, valid=valid, noise=noise)
        return self.decoder(x, encoded=encoded, valid=valid, target_valid=target_valid, noise=noise)

    @contextlib.contextmanager
    def watch_source_attention(self) -> Iterator[dict[str, tf.Tensor]]:
        """Collects the weights of attention to the source of a `decode` called inside: {layer name: (B, H, T, S)}.

        Empty without attention. `decode` must not be wrapped in a tf.function of its own inside the context.
        """
        seen: dict[str, tf.Tensor] = {}  # the last call's: Keras may call a layer once to build it
        blocks = [block for block in (self.mixer.attention, *self.decoder.attentions) if block.use_attention]
        for block in blocks:
            block.source_attention.watch = functools.partial(seen.__setitem__, block.name)
        try:
            yield seen
        finally:
            for block in blocks:
                block.source_attention.watch = None

    def initial_state(self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor) -> dict[str, Any]:
        """The decoding state before the first position: convolution windows, attention keys and values."""
        return {
            "position": tf.zeros([], tf.int32),
            "mixer": self.mixer.initial_state(encoded, valid, max_length),
            "decoder": self.decoder.initial_state(encoded, valid, max_length),
        }

    def step(self, x: tf.Tensor, state: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        """Decodes one position, at a cost that does not depend on the position.

        Args:
          x: (B, D), the embedding of the command at the first position, of the previous output at later ones.
          state: from `initial_state` or the previous step.

        Returns:
          (B, D), equal to the output of `decode` at this position, and the next state.
        """
        x, mixer = self.mixer.step(x, state["mixer"], state["position"])
        x, decoder = self.decoder.step(x, state["decoder"], state["position"])
        return x, {"position": state["position"] + 1, "mixer": mixer, "decoder": decoder}
