"""Stateless random noise: dropout, and a seed for each layer.

Layers take `noise`, an int32 seed (2,) derived from (seed, step, replica), or None outside training. No random state is
kept, so a resumed run draws the same noise as an uninterrupted one.
"""

import zlib

import tensorflow as tf


def layer_seed(noise: tf.Tensor, path: str) -> tf.Tensor:
    """The seed (2,) of the layer at `path` in this step; it differs from layer to layer."""
    return tf.random.experimental.stateless_fold_in(noise, zlib.crc32(path.encode()) & 0x7FFFFFFF)


def dropout(x: tf.Tensor, rate: float, noise: tf.Tensor | None, path: str) -> tf.Tensor:
    """Zeroes a fraction `rate` of x and scales the rest by 1 / (1 - rate); returns x if noise is None or rate is 0."""
    if noise is None or rate == 0.0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), layer_seed(noise, path)) >= rate
    return tf.where(keep, x * tf.cast(1.0 / (1.0 - rate), x.dtype), tf.zeros([], x.dtype))
