"""The base class of modality nets, and the cross entropy of their outputs.

Shapes: B batch, S input positions, T target positions, D hidden, V vocabulary or classes.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.layers.layer import Layer
from t2t_lite.problems.features import Feature


class Embedded(NamedTuple):
    """Embedded inputs: what the encoder reads."""

    x: tf.Tensor  # (B, S, D)
    valid: tf.Tensor  # (B, S), False at padding
    grid: tf.Tensor  # (2,): rows and columns of the S positions; a sequence has 1 column


class Modality(Layer):
    """A modality net (paper, section 2.5). Subclasses implement the methods for input, output or both.

    Args:
      feature: the declaration of the data, from problems/features.py.
      hparams: the model's hyperparameters.
      vocab_size: V of a text; 0 otherwise.

    Attributes:
      noise_numbers: the random numbers that `embed_noisy` needs for each example; 0: training embeds as decoding does.
    """

    noise_numbers = 0

    def __init__(self, feature: Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.feature, self.hparams, self.vocab_size = feature, hparams, vocab_size

    @classmethod
    def net_name(cls, feature: Feature) -> str:
        """The name of the net for this feature; features with the same name share one net."""
        return feature.modality

    def embed_inputs(self, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """Inputs of a batch, and for audio their lengths in samples (B,) -> what the encoder reads."""
        raise UserError(f"modality '{self.feature.modality}' cannot be an input")

    def embed_noisy(self, numbers: tf.Tensor, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """As `embed_inputs`, in training, for a net with noise_numbers: these (B, noise_numbers), uniform in [0, 1).

        The numbers of an example follow from the step and the example, whatever shard it is in.
        """
        raise NotImplementedError

    def embed_targets(self, targets: tf.Tensor) -> tf.Tensor:
        """Targets (B, T) -> (B, T, D), if the output is decoded step by step."""
        raise UserError(f"modality '{self.feature.modality}' cannot be decoded step by step")

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """The decoder's output (B, T, D) -> (B, T, V) in float32."""
        raise UserError(f"modality '{self.feature.modality}' cannot be an output")

    def target_weights(self, targets: tf.Tensor) -> tf.Tensor:
        """Each target's weight in the loss, 0 at padding and 1 otherwise: (B, ...) -> (B, ...)."""
        return tf.ones(tf.shape(targets), tf.float32)


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """The softmax cross entropy of each target, in nats: (..., V), (...) -> (...).

    With label smoothing the target distribution is (1 - smoothing) * one-hot + smoothing * uniform over all V.
    """
    one_hot = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    if smoothing == 0.0:
        return one_hot
    uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
    return (1.0 - smoothing) * one_hot + smoothing * uniform
