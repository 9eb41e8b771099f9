"""Writing into a tensor in place, for the state of decoding, which a search rewrites at each position.

`tf.tensor_scatter_nd_update` and `tf.where` copy the whole tensor to change one row: at D = 512 and 32 sentences that
was a sixth of a position's time. These operations change their input instead, so two rules hold. The tensor comes from
`empty_buffer` or from an operation that made it anew; `tf.zeros` will not do, because TensorFlow merges equal ones.
Every read of the old contents must run before the write: TensorFlow orders the two only if the written rows are
computed from what was read.
"""

import tensorflow as tf


def empty_buffer(shape: list[tf.Tensor | int], dtype: tf.DType) -> tf.Tensor:
    """Zeros in memory of their own."""
    return tf.raw_ops.Empty(shape=tf.stack(shape), dtype=dtype, init=True)


def write_rows(buffer: tf.Tensor, indices: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Writes rows (N, ...) at the indices (N,) of the first axis; returns the buffer, which must not be used again.

    The gradient is not defined.
    """
    written = tf.raw_ops.InplaceUpdate(x=buffer, i=indices, v=rows)
    written.set_shape(buffer.shape)
    return written
