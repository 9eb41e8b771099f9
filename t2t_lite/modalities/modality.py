"""What every modality net offers the model: how a kind of data enters the body, and how the body's output leaves.

Shapes: B batch, S input positions, T target positions, D hidden size, V classes or vocabulary.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import Feature


class Embedded(NamedTuple):
    """Inputs as the body takes them."""

    x: tf.Tensor  # (B, S, D)
    valid: tf.Tensor  # (B, S), True where there is input, False at padding
    grid: tf.Tensor  # (2,): rows and columns that the S positions came from; columns are 1 for a sequence


class Modality(keras.layers.Layer):
    """A modality net. Subclasses implement the directions that their kind of data has.

    Args:
      feature: what the data is made of.
      hparams: the model's hyperparameters.
      vocab_size: V, for text.
    """

    def __init__(self, feature: Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.feature, self.hparams, self.vocab_size = feature, hparams, vocab_size

    @classmethod
    def net_name(cls, feature: Feature) -> str:
        """The name of the net for this feature. Features with the same name share one net."""
        return feature.modality

    def embed_inputs(self, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """Inputs as read, and for audio their length in samples (B,) -> what enters the encoder."""
        raise UserError(f"modality '{self.feature.modality}' cannot be an input")

    def embed_targets(self, targets: tf.Tensor) -> tf.Tensor:
        """(B, T) -> (B, T, D), for outputs that are decoded step by step."""
        raise UserError(f"modality '{self.feature.modality}' cannot be decoded step by step")

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """The decoder's output (B, T, D) -> (B, T, V) in float32."""
        raise UserError(f"modality '{self.feature.modality}' cannot be an output")

    def target_weights(self, targets: tf.Tensor) -> tf.Tensor:
        """What each target counts in the loss: 1, or 0 at padding. (B, ...) -> (B, ...)."""
        return tf.ones(tf.shape(targets), tf.float32)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """The softmax cross-entropy of each target, in nats: (..., V), (...) -> (...).

    With label smoothing the true class has probability 1 - smoothing and all V share the rest.
    """
    right = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    if smoothing == 0.0:
        return right
    uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
    return (1.0 - smoothing) * right + smoothing * uniform
