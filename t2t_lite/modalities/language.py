"""Text input and output (paper, section 2.5.1)."""

from typing import Any

import keras
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.modalities.modality import Embedded, Modality
from t2t_lite.problems.features import Feature, Text


@registry.modalities.register
class Language(Modality):
    """Text in subword units (paper, section 2.5.1): embeds token ids; maps the decoder's output to logits."""

    def __init__(self, feature: Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(feature, hparams, vocab_size, **kwargs)
        size = hparams.hidden_size

        def normal() -> keras.initializers.Initializer:
            # A new initializer for each weight: a Keras initializer used twice draws the same numbers.
            return keras.initializers.RandomNormal(stddev=size**-0.5)

        self.embedding = self.add_weight(
            name="embedding", shape=(vocab_size, size), initializer=normal(), autocast=False
        )
        if not hparams.share_embeddings:
            self.softmax = self.add_weight(
                name="softmax", shape=(size, vocab_size), initializer=normal(), autocast=False
            )

    @classmethod
    def net_name(cls, feature: Feature) -> str:
        """One net per vocabulary."""
        assert isinstance(feature, Text)
        return f"language_{feature.vocab}"

    def embed_inputs(self, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """Token ids (B, S), 0 at padding -> x (B, S, D) and valid (B, S)."""
        return Embedded(self.embed_targets(inputs), inputs != 0, tf.stack([tf.shape(inputs)[1], 1]))

    def embed_targets(self, targets: tf.Tensor) -> tf.Tensor:
        """Token ids (B, T) -> (B, T, D)."""
        x = tf.cast(tf.gather(self.embedding, targets), self.compute_dtype)
        return x * self.hparams.hidden_size**0.5 if self.hparams.scale_embeddings else x

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """(B, T, D) -> (B, T, V), a float32 product whatever the compute dtype: losses compare logits of close size."""
        x = tf.cast(x, tf.float32)
        if self.hparams.share_embeddings:
            return tf.einsum("btd,vd->btv", x, self.embedding)
        return tf.einsum("btd,dv->btv", x, self.softmax)

    def target_weights(self, targets: tf.Tensor) -> tf.Tensor:
        """0 at padding (id 0), 1 otherwise: (B, T) -> (B, T)."""
        return tf.cast(targets != 0, tf.float32)
