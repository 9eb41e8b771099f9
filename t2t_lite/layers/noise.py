"""Stateless random noise: dropout, and a seed for each layer.

Layers take `noise`, an int32 seed (2,) derived from (seed, step, replica), or None outside training. No random state is
kept, so a resumed run draws the same noise as an uninterrupted one.

Seeds are derived by addition: TensorFlow adds int32 on the host, where its random operations read their seeds. A
hash by `stateless_fold_in` would be computed on the GPU and copied back for each layer.
"""

import zlib

import numpy as np
import tensorflow as tf

_ROWS = 4093  # rows of random numbers that the examples of a step share; a prime
_SHARD_STRIDE = 0x9E3779B9  # odd and large: the seeds of neighbouring shards and run seeds do not meet


def step_seed(seed: int, step: int, shard: int = 0) -> tf.Tensor:
    """The seed (2,) of the noise of one shard of a step's batch."""
    return tf.constant([_wrap(seed + shard * _SHARD_STRIDE), _wrap(step)], tf.int32)


def layer_seed(noise: tf.Tensor, path: str) -> tf.Tensor:
    """The seed (2,) of the layer at `path` in this step; it differs from layer to layer."""
    return noise + tf.constant([_wrap(zlib.crc32(path.encode())), 0])


def example_numbers(noise: tf.Tensor, seed: int, path: str, index: tf.Tensor, count: int) -> tf.Tensor:
    """Random numbers of each example, uniform in [0, 1), which do not depend on the shard that the example is in.

    Args:
      noise: the seed (2,) of the shard, as from `step_seed`.
      seed: the run's seed, from which it was made.
      path: what the numbers are for.
      index: int64 (B,), the examples' positions in the split; of those equal modulo 4,093 the numbers are equal.
      count: how many numbers.

    Returns:
      (B, count).
    """
    with tf.device("CPU:0"):  # a few numbers: a GPU would wait for as many small operations
        step = layer_seed(tf.stack([_wrap(seed), noise[1]]), path)
        return tf.gather(tf.random.stateless_uniform([_ROWS, count], step), index % _ROWS)


def _wrap(number: int) -> int:
    """The int32 of the same lowest 32 bits."""
    return int(np.uint32(number & 0xFFFFFFFF).view(np.int32))


def dropout(x: tf.Tensor, rate: float, noise: tf.Tensor | None, path: str) -> tf.Tensor:
    """Zeroes a fraction `rate` of x and scales the rest by 1 / (1 - rate); returns x if noise is None or rate is 0."""
    if noise is None or rate == 0.0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), layer_seed(noise, path)) >= rate
    return tf.where(keep, x * tf.cast(1.0 / (1.0 - rate), x.dtype), tf.zeros([], x.dtype))
