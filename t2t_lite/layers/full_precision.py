"""Means and products in full float32.

GPUs since Ampere round the factors of a float32 matrix product to TF32, with 10 bits of mantissa. Most layers can bear
that; the statistics of a norm and the near ties of a router cannot. These functions avoid TF32. When they are traced
they choose their operations by whether TensorFlow has a GPU.
"""

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow runs with a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


def mean_of_rows(x: tf.Tensor) -> tf.Tensor:
    """float32 (N, channels) -> (N, 1). On a CPU a product with a constant vector is faster than a reduction."""
    if has_gpu():
        return tf.reduce_mean(x, axis=1, keepdims=True)
    return tf.matmul(x, tf.constant(1.0 / x.shape[1], shape=[x.shape[1], 1]))


def weighted_sum_of_rows(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """float32 (N, channels), (channels,) -> (N, 1)."""
    if has_gpu():
        return tf.reduce_sum(x * weights, axis=1, keepdims=True)
    return tf.matmul(x, weights[:, None])


def sum_of_columns(x: tf.Tensor) -> tf.Tensor:
    """float32 (N, channels) -> (channels,)."""
    if has_gpu():
        return tf.reduce_sum(x, axis=0)
    return tf.squeeze(tf.matmul(tf.ones([1, tf.shape(x)[0]]), x), 0)


def product(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The matrix product of float32 matrices. In float64 on a GPU: meant for small ones, a router's."""
    if has_gpu():
        return tf.cast(tf.matmul(tf.cast(x, tf.float64), tf.cast(y, tf.float64)), tf.float32)
    return tf.matmul(x, y)
