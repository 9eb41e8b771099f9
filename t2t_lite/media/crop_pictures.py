"""Decodes and crops stored pictures to the shape that the network sees: at random in training, else in the middle."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from t2t_lite.media.picture_files import CROP_SHARE


class CropSeed(NamedTuple):
    """The source of random crops: the same seed and index give the same crop."""

    seed: tf.Tensor  # int64 (2,)
    index: tf.Tensor  # int64 (B,): each picture's number
    flip: bool  # whether half of the pictures are mirrored


def _decode_stored(picture: tf.Tensor) -> tf.Tensor:
    """Decodes PNG or JPEG bytes () as datagen stores them to uint8 (rows, columns, 3)."""
    return tf.io.decode_image(picture, channels=3, expand_animations=False)


def decode_and_crop(
    pictures: tf.Tensor,
    rows: int,
    columns: int,
    draw: CropSeed | None = None,
    decode: Callable[[tf.Tensor], tf.Tensor] = _decode_stored,
) -> tf.Tensor:
    """Decodes pictures, crops each to the wanted aspect, and resizes the crop if it is not of the wanted size.

    A picture that is larger than wanted by a seventh or more is cropped to 7/8 of its shorter side, as 224 of 256
    pixels; of a smaller one, the largest crop is taken.

    Args:
      pictures: PNG or JPEG bytes (B,).
      rows: rows that the network sees.
      columns: columns that the network sees.
      draw: the source of random crops; without it, crops are in the middle.
      decode: decodes one picture to uint8 (h, w, 3).

    Returns:
      uint8 (B, rows, columns, 3); a resized crop is rounded to it.
    """

    def read(picture: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        pixels = decode(picture)
        size = tf.shape(pixels)[:2]
        window = _window(size, rows, columns)
        free, start = size - window, (size - window) // 2
        if draw is not None:
            drawn = tf.random.stateless_uniform([3], tf.random.experimental.stateless_fold_in(draw.seed, index))
            start = tf.minimum(tf.cast(drawn[:2] * tf.cast(free + 1, tf.float32), tf.int32), free)
        pixels = tf.slice(pixels, tf.concat([start, [0]], 0), tf.concat([window, [3]], 0))

        def resize() -> tf.Tensor:
            resized = tf.image.resize(pixels, [rows, columns], antialias=True)
            return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)

        pixels = tf.cond(tf.reduce_all(window == [rows, columns]), lambda: pixels, resize)
        if draw is not None and draw.flip:
            pixels = tf.cond(drawn[2] < 0.5, lambda: pixels[:, ::-1], lambda: pixels)
        return pixels

    index = tf.zeros(tf.shape(pictures), tf.int64) if draw is None else draw.index
    spec = tf.TensorSpec([rows, columns, 3], tf.uint8)
    return tf.map_fn(lambda one: read(*one), (pictures, index), fn_output_signature=spec)


def _window(size: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """The rows and columns of the crop (2,), of those of a picture (2,)."""
    wanted = tf.constant([rows, columns], tf.float32)
    # Pixels of the picture for one that the network sees, in the largest crop.
    largest = tf.reduce_min(tf.cast(size, tf.float32) / wanted)
    scale = tf.minimum(largest, tf.maximum(1.0, CROP_SHARE * largest))
    return tf.clip_by_value(tf.cast(tf.round(scale * wanted), tf.int32), 1, size)
