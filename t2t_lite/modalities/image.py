"""Image input (paper, section 2.5.2)."""

from typing import Any

import tensorflow as tf

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.layers.convolution import ConvRes, ConvStep
from t2t_lite.modalities.modality import Embedded, Modality
from t2t_lite.problems.features import Feature


def unit_range(inputs: tf.Tensor) -> tf.Tensor:
    """Returns pictures as float32 in [0, 1] if they are uint8, as they are read; all else as it is.

    uint8 pictures are a quarter of the bytes to send to a GPU.
    """
    return tf.cast(inputs, tf.float32) / 255.0 if inputs.dtype == tf.uint8 else inputs


@registry.modalities.register
class Image(Modality):
    """Image input: the entry flow of Xception, then rows and columns become one sequence (paper, section 2.5.2).

        h1 = ConvStep_{32, stride 2}(3x3, x)
        h2 = ConvStep_{64}(3x3, h1)
        r1 = ConvRes(h2, 128);  r2 = ConvRes(r1, 256);  out = ConvRes(r2, D)

    x holds each colour channel and its complement: the layer norm over channels keeps only the ratios between channels,
    so without complements white, grey and black would look the same.

    Hparams: `image_width` is the 32 of h1; the other widths are multiples of it. `image_strides` is how many of the
    four strides are kept, from the first on; all four make each side 16x smaller, too much for small images. With
    `image_patches` h1 does not stride but stacks the four pixels of each 2x2 patch as channels: a strided depthwise
    convolution loses half of their information, which small images need.
    """

    def __init__(self, feature: Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(feature, hparams, vocab_size, **kwargs)
        if not 0 <= hparams.image_strides <= 4:
            raise UserError(f"hparams: image_strides={hparams.image_strides} must be 0 to 4")
        width = hparams.image_width
        strides = [(2, 2) if i < hparams.image_strides else (1, 1) for i in range(4)]
        self.patch = 2 if hparams.image_patches and hparams.image_strides else 1
        first = strides[0] if self.patch == 1 else (1, 1)
        self.step1 = ConvStep(6 * self.patch**2, width, (3, 3), strides=first, name=f"{self.name}.step1")
        self.step2 = ConvStep(width, 2 * width, (3, 3), name=f"{self.name}.step2")
        self.res1 = ConvRes(2 * width, 4 * width, strides=strides[1], name=f"{self.name}.res1")
        self.res2 = ConvRes(4 * width, 8 * width, strides=strides[2], name=f"{self.name}.res2")
        self.res3 = ConvRes(8 * width, hparams.hidden_size, strides=strides[3], name=f"{self.name}.res3")

    def embed_inputs(self, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """Images (B, rows, columns, 3) in [0, 1] -> x (B, S, D), S being rows times columns after the strides."""
        x = tf.stop_gradient(tf.cast(inputs, self.compute_dtype))  # saves an unused gradient
        x = tf.concat([x, 1.0 - x], axis=-1)
        if self.patch > 1:
            rows, columns = tf.shape(x)[1], tf.shape(x)[2]
            x = tf.pad(x, [[0, 0], [0, rows % self.patch], [0, columns % self.patch], [0, 0]])
            x = tf.nn.space_to_depth(x, self.patch)
        x = self.step2(self.step1(x))
        x = self.res3(self.res2(self.res1(x)))
        batch, rows, columns, channels = tf.unstack(tf.shape(x))
        x = tf.reshape(x, [batch, rows * columns, channels])
        return Embedded(x, tf.ones([batch, rows * columns], tf.bool), tf.stack([rows, columns]))
