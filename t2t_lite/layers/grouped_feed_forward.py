"""Feed-forward experts over rows that are sorted by expert: two products for each expert, over exactly its own rows.

A batched product over all experts pads each to the busiest one, so that time and memory depend on the routing: at the
paper's sizes 256 positions cost 14 times as much if all choose the same experts. Here both follow from the number
of rows alone. The loop visits the experts that have rows; slicing a weight along its first axis copies nothing.

Shapes: M rows, D hidden, E experts, F filter size.
"""

from collections.abc import Callable

import tensorflow as tf

Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def grouped_feed_forward(rows: tf.Tensor, expand: tf.Tensor, contract: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """`ReLU(row W1[e]) W2[e]` for each row of expert e; the first counts[0] rows are those of expert 0, and so on.

    Products are computed in the type of `rows`. The gradient is written out: the derived one would add up a gradient of
    all experts' weights, nearly all zeros, for each expert.

    Args:
      rows: (M, D).
      expand: (E, D, F), W1.
      contract: (E, F, D), W2.
      counts: int32 (E,), which sum to M; on the host.

    Returns:
      (M, D).
    """
    with tf.device("CPU:0"):
        ends = tf.cumsum(counts)
        starts = ends - counts
        active = tf.cast(tf.where(counts > 0)[:, 0], tf.int32)  # the experts that have rows

    def loop(work: Callable[..., tuple[tf.Tensor, ...]], *arrays: tf.TensorArray) -> tuple[tf.TensorArray, ...]:
        """Calls work(i, *arrays) for each i below the number of active experts."""
        bound = tf.size(active)
        start = (tf.constant(0), *arrays)
        ended = tf.while_loop(
            lambda i, *_: i < bound, lambda i, *a: (i + 1, *work(i, *a)), start, parallel_iterations=1
        )
        return tuple(ended[1:])

    def row_array(size: int) -> tf.TensorArray:
        """One element for each active expert, (its rows, size), and an empty one: `concat` fails without any."""
        array = tf.TensorArray(rows.dtype, tf.size(active) + 1, infer_shape=False, element_shape=[None, size])
        return array.write(tf.size(active), tf.zeros([0, size], rows.dtype))

    @tf.custom_gradient
    def feed_forward(rows: tf.Tensor, expand: tf.Tensor, contract: tf.Tensor) -> tuple[tf.Tensor, Gradient]:
        hidden_size, filter_size = expand.shape[1:]

        def weights_of(e: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.cast(expand[e], rows.dtype), tf.cast(contract[e], rows.dtype)

        def forward(i: tf.Tensor, hiddens: tf.TensorArray, outputs: tf.TensorArray) -> tuple[tf.TensorArray, ...]:
            e = active[i]
            first, second = weights_of(e)
            hidden = tf.nn.relu(tf.matmul(rows[starts[e] : ends[e]], first))
            return hiddens.write(i, hidden), outputs.write(i, tf.matmul(hidden, second))

        hiddens, outputs = loop(forward, row_array(filter_size), row_array(hidden_size))
        hidden = hiddens.concat()  # (M, F)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def backward(
                i: tf.Tensor, to_rows: tf.TensorArray, to_expand: tf.TensorArray, to_contract: tf.TensorArray
            ) -> tuple[tf.TensorArray, ...]:
                e = active[i]
                first, second = weights_of(e)
                own, own_hidden, above = (x[starts[e] : ends[e]] for x in (rows, hidden, upstream))
                to_hidden = tf.matmul(above, second, transpose_b=True)
                to_hidden = tf.where(own_hidden > 0, to_hidden, tf.zeros([], to_hidden.dtype))
                return (
                    to_rows.write(i, tf.matmul(to_hidden, first, transpose_b=True)),
                    to_expand.write(e, tf.cast(tf.matmul(own, to_hidden, transpose_a=True), expand.dtype)),
                    to_contract.write(e, tf.cast(tf.matmul(own_hidden, above, transpose_a=True), contract.dtype)),
                )

            # Elements that are never written, those of experts without rows, are stacked as zeros.
            of_weights = [tf.TensorArray(w.dtype, w.shape[0], element_shape=w.shape[1:]) for w in (expand, contract)]
            to_rows, to_expand, to_contract = loop(backward, row_array(hidden_size), *of_weights)
            return to_rows.concat(), to_expand.stack(), to_contract.stack()

        return outputs.concat(), gradient

    return feed_forward(rows, expand, contract)
