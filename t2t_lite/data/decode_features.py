"""Decodes stored features (token ids, PCM) into batch tensors, inside tf.data."""

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
