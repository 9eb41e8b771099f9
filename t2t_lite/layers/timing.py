"""The timing signal: sinusoidal position encoding (paper, section 2.3)."""

import numpy as np
import tensorflow as tf


def timing_signal(length: int | tf.Tensor, channels: int, start: int | tf.Tensor = 0) -> tf.Tensor:
    """Returns (length, channels): at position t, channels [2i, 2i + 1] are [sin(t delta), cos(t delta)].

    delta(2i) = 10000 ** (-2i / channels). Positions are start, start + 1, ...
    """
    delta = (10000.0 ** (-np.arange(0, channels, 2) / channels)).astype(np.float32)
    positions = tf.cast(start + tf.range(length), tf.float32)
    angles = positions[:, None] * delta  # (length, channels / 2)
    return tf.reshape(tf.stack([tf.sin(angles), tf.cos(angles)], axis=-1), [length, channels])
