"""Grouped feed-forward against one product a row, and its memory, which does not depend on the routing."""

import numpy as np
import pytest
import tensorflow as tf
from checks import close, normal

from t2t_lite.layers.grouped_feed_forward import grouped_feed_forward


def weights(experts=4):
    return tf.constant(normal(experts, 8, 12, seed=1), tf.float32), tf.constant(
        normal(experts, 12, 8, seed=2), tf.float32
    )


def value_and_gradients(call, *arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        y = call(*arguments)
        loss = tf.reduce_sum(y * tf.constant(normal(*y.shape, seed=3), y.dtype))
    return [y, *(tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, arguments))]


@pytest.mark.parametrize("counts", [[3, 0, 2, 0], [0, 0, 0, 7], [1, 1, 1, 1], [0, 0, 0, 0]])
@pytest.mark.parametrize("traced", [False, True])
def test_equals_a_product_for_each_row(counts, traced):
    rows, expert_of_row = tf.constant(normal(sum(counts), 8), tf.float32), np.repeat(np.arange(4), counts)

    def each(rows, expand, contract):
        hidden = tf.nn.relu(tf.einsum("md,mdf->mf", rows, tf.gather(expand, expert_of_row)))
        return tf.einsum("mf,mfd->md", hidden, tf.gather(contract, expert_of_row))

    def grouped(rows, expand, contract):
        return grouped_feed_forward(rows, expand, contract, tf.constant(counts))

    arguments = (rows, *weights())
    found = value_and_gradients(tf.function(grouped) if traced else grouped, *arguments)
    for value, expected in zip(found, value_and_gradients(each, *arguments), strict=True):
        close(value, expected, 1e-4)


def test_computes_in_the_type_of_the_rows():
    rows = tf.cast(normal(5, 8), tf.bfloat16)
    y, *gradients = value_and_gradients(
        lambda *a: grouped_feed_forward(*a, tf.constant([2, 0, 3, 0])), rows, *weights()
    )
    assert [x.dtype for x in (y, *gradients)] == [tf.bfloat16, tf.bfloat16, tf.float32, tf.float32]
    exact = value_and_gradients(
        lambda *a: grouped_feed_forward(*a, tf.constant([2, 0, 3, 0])), tf.cast(rows, tf.float32), *weights()
    )
    for value, expected in zip((y, *gradients), exact, strict=True):
        np.testing.assert_allclose(tf.cast(value, tf.float32), expected, atol=0.03 * np.abs(expected).max())
