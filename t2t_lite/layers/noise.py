"""Noise that depends on a seed alone: dropout and the seeds of each layer.

Layers take `noise`, an int32 tensor (2,) made from (seed, step, replica), or None outside training. Nothing keeps a
random state, so a run that is stopped and resumed draws the noise of one that was not.
"""

import zlib

import tensorflow as tf


def layer_seed(noise: tf.Tensor, path: str) -> tf.Tensor:
    """Returns the seed (2,) of the layer at `path` in this step, different for every layer."""
    return tf.random.experimental.stateless_fold_in(noise, zlib.crc32(path.encode()) & 0x7FFFFFFF)


def dropout(x: tf.Tensor, rate: float, noise: tf.Tensor | None, path: str) -> tf.Tensor:
    """Sets a share `rate` of x to zero and scales the rest by 1 / (1 - rate); the identity where noise is None."""
    if noise is None or rate == 0.0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), layer_seed(noise, path)) >= rate
    return tf.where(keep, x * tf.cast(1.0 / (1.0 - rate), x.dtype), tf.zeros([], x.dtype))
