"""Decodes stored features (token ids, PCM) into batch tensors, inside tf.data."""

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.vocabulary import END


def pad_text(ids: tf.RaggedTensor, max_length: int, length: tf.Tensor) -> tf.Tensor:
    """Cuts ragged ids (B, None) to max_length, appends the end token and pads: int32 (B, length)."""
    ends = tf.fill([ids.nrows(), 1], tf.constant(END, tf.int64))
    padded = tf.cast(tf.concat([ids[:, :max_length], ends], axis=1).to_tensor(), tf.int32)
    return tf.pad(padded, [[0, 0], [0, length - tf.shape(padded)[1]]])


def decode_audio(pcm: tf.Tensor, max_length: int, length: tf.Tensor) -> tf.Tensor:
    """Decodes bytes (B,) of 16-bit samples, cuts to max_length samples and pads to length positions.

    Returns:
      float32 (B, length * SAMPLES_PER_POSITION) in [-1, 1).
    """
    pcm = tf.strings.substr(pcm, 0, 2 * max_length)
    samples = tf.io.decode_raw(pcm, tf.int16, fixed_length=2 * lengths.SAMPLES_PER_POSITION * length)
    return tf.cast(samples, tf.float32) / 32768.0
