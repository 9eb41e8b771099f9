"""Values as they are stored or given, to the tensors of a batch: in graph mode."""

from collections.abc import Callable

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.vocabulary import END


def pad_text(ids: tf.RaggedTensor, max_length: int, edge: tf.Tensor) -> tf.Tensor:
    """Ragged ids (B, None) to int32 (B, edge): cut, ended and padded."""
    ends = tf.fill([ids.nrows(), 1], tf.constant(END, tf.int64))
    padded = tf.cast(tf.concat([ids[:, :max_length], ends], axis=1).to_tensor(), tf.int32)
    return tf.pad(padded, [[0, 0], [0, edge - tf.shape(padded)[1]]])


def decode_audio(pcm: tf.Tensor, max_length: int, edge: tf.Tensor) -> tf.Tensor:
    """16-bit samples as bytes (B,) to float32 (B, edge * SAMPLES_PER_POSITION): cut and padded."""
    pcm = tf.strings.substr(pcm, 0, 2 * max_length)
    samples = tf.io.decode_raw(pcm, tf.int16, fixed_length=2 * lengths.SAMPLES_PER_POSITION * edge)
    return tf.cast(samples, tf.float32) / 32768.0


def _decode_stored(picture: tf.Tensor) -> tf.Tensor:
    """PNG or JPEG bytes () as datagen stores them to uint8 (rows, columns, 3)."""
    return tf.io.decode_image(picture, channels=3, expand_animations=False)


def decode_images(
    pictures: tf.Tensor,
    rows: int,
    columns: int,
    decode: Callable[[tf.Tensor], tf.Tensor] = _decode_stored,
) -> tf.Tensor:
    """PNG or JPEG bytes (B,) to float32 (B, rows, columns, 3) in [0, 1], by what makes one of them uint8."""

    def fit(picture: tf.Tensor) -> tf.Tensor:
        pixels = tf.cast(decode(picture), tf.float32) / 255.0
        fits = tf.reduce_all(tf.shape(pixels)[:2] == [rows, columns])
        return tf.cond(fits, lambda: pixels, lambda: tf.image.resize(pixels, [rows, columns], antialias=True))

    shape = tf.TensorSpec([rows, columns, 3], tf.float32)
    return tf.map_fn(fit, pictures, fn_output_signature=shape)
