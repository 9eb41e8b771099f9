"""Class label output (paper, section 2.5.3)."""

import zlib
from typing import Any

import tensorflow as tf

from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.layers.convolution import ConvStep, max_pool
from t2t_lite.modalities.modality import Modality
from t2t_lite.problems.features import Feature, Label


@registry.modalities.register
class Categorical(Modality):
    """Class label output: the exit flow of Xception over the encoded input (paper, section 2.5.3).

        skip = ConvStep_{stride 2}(3x3, x)
        h1 = ConvStep(3x3, x);  h2 = ConvStep(3x3, h1);  h3 = skip + MaxPool_{3x3, stride 2}(h2)
        h4 = ConvStep_{1536}(3x3, h3);  h5 = ConvStep_{2048}(3x3, h4)
        out = PointwiseConv(classes, GlobalAvgPool(ReLU(h5)))

    The hparam `categorical_width` is the 1536; the 2048 is 4/3 of it.
    """

    def __init__(self, feature: Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(feature, hparams, vocab_size, **kwargs)
        assert isinstance(feature, Label)
        size, width = hparams.hidden_size, hparams.categorical_width
        self.skip = ConvStep(size, size, (3, 3), strides=(2, 2), name=f"{self.name}.skip")
        self.step1 = ConvStep(size, size, (3, 3), name=f"{self.name}.step1")
        self.step2 = ConvStep(size, size, (3, 3), name=f"{self.name}.step2")
        self.step4 = ConvStep(size, width, (3, 3), name=f"{self.name}.step4")
        self.step5 = ConvStep(width, width * 4 // 3, (3, 3), name=f"{self.name}.step5")
        shape = (width * 4 // 3, len(feature.classes))
        self.softmax = self.add_weight(name="softmax", shape=shape, initializer="glorot_uniform", autocast=False)

    @classmethod
    def net_name(cls, feature: Feature) -> str:
        """One net per list of classes."""
        assert isinstance(feature, Label)
        return f"categorical_{len(feature.classes)}_{zlib.crc32(repr(feature.classes).encode()):08x}"

    def classify(self, encoded: tf.Tensor, valid: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
        """Encoded input (B, S, D), valid (B, S), grid (2,): rows and columns -> logits (B, V) in float32."""
        batch = tf.shape(encoded)[0]
        x = tf.reshape(encoded, [batch, grid[0], grid[1], encoded.shape[-1]])
        valid = tf.reshape(valid, [batch, grid[0], grid[1]])[:, :, 0]
        h2 = self.step2(self.step1(x, valid=valid), valid=valid)
        h3 = self.skip(x, valid=valid) + max_pool(h2, (3, 3), (2, 2), valid)
        valid = valid[:, ::2]
        h5 = self.step5(self.step4(h3, valid=valid), valid=valid)
        h5 = tf.cast(h5, tf.float32)  # for the mean: bfloat16 cannot count beyond 256
        pixels = tf.reshape(tf.nn.relu(h5), [batch, -1, h5.shape[-1]])
        columns = tf.ones([1, 1, tf.shape(h5)[2]])
        weight = tf.reshape(tf.cast(valid, tf.float32)[:, :, None] * columns, [batch, 1, -1])
        # At least 1: an example that only fills up a batch has no valid row.
        h6 = tf.squeeze(tf.matmul(weight, pixels), 1) / tf.maximum(tf.reduce_sum(weight, axis=-1), 1.0)
        return tf.matmul(h6, self.softmax)
