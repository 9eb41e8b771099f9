"""What a body offers to its model: the part of the network between the modality nets, which all problems share.

Shapes: B batch, S input positions, T target positions, D hidden, H heads, E experts.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from t2t_lite.layers.attention import MultiHeadAttention
from t2t_lite.layers.layer import Layer


class BaseBody(Layer):
    """Encodes inputs, decodes targets with teacher forcing, and decodes one position at a time from a cached state.

    Attributes:
      kind: whose activations training/memory_estimate.py counts: "multi_model" or "transformer".
      encoder: the layer that holds all weights of `encode`.
      encoder_attentions: the number of attentions of the input to itself, each over all its positions.
    """

    kind = "multi_model"
    encoder: Layer
    encoder_attentions = 0

    @property
    def decoder_parts(self) -> tuple[Layer, ...]:
        """The layers that hold all weights of `decode`, `initial_state` and `step`."""
        raise NotImplementedError

    def encode(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, S, D), valid (B, S), False at padding -> (B, S, D) and the experts' sums (3, E), zeros without experts.

        noise is the seed (2,) of layers/noise.py, None outside training.
        """
        raise NotImplementedError

    def decode(
        self,
        targets: tf.Tensor,
        encoded: tf.Tensor,
        valid: tf.Tensor,
        command: tf.Tensor,
        target_valid: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes with teacher forcing: the output at position t depends only on targets before t.

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
        raise NotImplementedError

    def initial_state(
        self, encoded: tf.Tensor, valid: tf.Tensor, max_length: tf.Tensor, beams: int = 1
    ) -> dict[str, Any]:
        """The decoding state before the first position.

        Args:
          encoded: (B, S, D).
          valid: (B, S), False at padding.
          max_length: the number of positions that there is room for.
          beams: rows of the state for each row of `encoded`, adjacent: B beams rows.
        """
        raise NotImplementedError

    def select_beams(self, state: dict[str, Any], rows: tf.Tensor) -> dict[str, Any]:
        """The decoding state in which each hypothesis goes on from another one of its input.

        Args:
          state: from `initial_state` with more than one beam, or `step`.
          rows: (B beams,), the number of the row that each goes on from.
        """
        raise NotImplementedError

    def select_inputs(self, state: dict[str, Any], inputs: tf.Tensor, beams: int = 1) -> dict[str, Any]:
        """The decoding state of the inputs of these numbers (B',), with all their beams: B' beams rows."""
        raise NotImplementedError

    def step(self, x: tf.Tensor, state: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        """Decodes one position. Beyond attention to the past, its cost does not depend on the position.

        Args:
          x: (B, D), the embedding of the command at the first position, of the previous output at later ones.
          state: from `initial_state` or the previous step. It is rewritten in place, so it must not be used again.

        Returns:
          (B, D), equal to the output of `decode` at this position, and the next state.
        """
        raise NotImplementedError

    def source_attentions(self) -> Mapping[str, MultiHeadAttention]:
        """{name: attention of the targets to the encoded input}; each comes with one of the targets to themselves."""
        raise NotImplementedError

    @contextlib.contextmanager
    def watch_source_attention(self) -> Iterator[dict[str, tf.Tensor]]:
        """Collects the weights of attention to the source of a `decode` called inside: {name: (B, H, T, S)}.

        Empty without attention. `decode` must not be wrapped in a tf.function of its own inside the context.
        """
        seen: dict[str, tf.Tensor] = {}  # the last call's: Keras may call a layer once to build it
        attentions = self.source_attentions()
        for name, attention in attentions.items():
            attention.watch = functools.partial(seen.__setitem__, name)
        try:
            yield seen
        finally:
            for attention in attentions.values():
                attention.watch = None
