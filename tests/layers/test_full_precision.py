"""Means and products in full float32: what they compute, and that with a GPU no float32 matrix product is left."""

import numpy as np
import pytest
import tensorflow as tf
from checks import NOISE, close, floats, mixed_bfloat16, normal

from t2t_lite.layers import full_precision
from t2t_lite.layers.convolution import LayerNorm
from t2t_lite.layers.experts import MixtureOfExperts


@pytest.fixture
def with_gpu(monkeypatch):
    """As if TensorFlow had a GPU: what is traced then runs on a CPU too."""
    monkeypatch.setattr(full_precision, "has_gpu", lambda: True)


def products(function, *arguments):
    """The matrix products of a function's graph, forward and backward: (op, dtype of its factors)."""

    @tf.function
    def with_gradient(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(function(*arguments) ** 2)
        return tape.gradient(loss, arguments)

    graph = with_gradient.get_concrete_function(*arguments).graph
    return [(op.type, op.inputs[0].dtype) for op in graph.get_operations() if op.type in ("MatMul", "BatchMatMulV2")]


@pytest.mark.parametrize("gpu", [False, True])
def test_equal_numpy(gpu, monkeypatch):
    monkeypatch.setattr(full_precision, "has_gpu", lambda: gpu)
    x, weights = normal(5, 8), normal(8, seed=1)
    close(full_precision.mean_of_rows(floats(x)), x.mean(axis=1, keepdims=True))
    close(full_precision.weighted_sum_of_rows(floats(x), floats(weights)), (x * weights).sum(axis=1, keepdims=True))
    close(full_precision.sum_of_columns(floats(x)), x.sum(axis=0))
    close(full_precision.product(floats(x), floats(x.T)), x @ x.T)


def test_a_norm_has_no_product_on_a_gpu(with_gpu):
    norm = LayerNorm(8)
    assert not products(norm, floats(normal(5, 8)))


def test_a_norm_is_the_same_on_a_gpu(monkeypatch):
    norm, x = LayerNorm(8), floats(normal(5, 8))
    expected = norm(x)
    monkeypatch.setattr(full_precision, "has_gpu", lambda: True)
    close(norm(x), expected, 1e-5)


def test_the_router_has_no_float32_product_on_a_gpu(with_gpu):
    layer = MixtureOfExperts(8, 12, 6, 2)
    valid = tf.ones([40], tf.bool)

    def gates(x):
        _, gates, importance, load = layer._route(x, valid, NOISE)
        return tf.concat([tf.reshape(gates, [-1]), importance, load], axis=0)

    found = products(gates, floats(normal(40, 8)))
    assert found and all(dtype == tf.float64 for _, dtype in found)


def test_gradients_of_a_norm_in_bfloat16():
    with mixed_bfloat16():
        narrow_norm = LayerNorm(64)
    x = tf.cast(normal(32, 64), tf.bfloat16)
    found = []
    for norm, rows in ((narrow_norm, x), (LayerNorm(64), tf.cast(x, tf.float32))):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            y = norm(rows)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * floats(normal(32, 64, seed=1)))
        assert y.dtype == rows.dtype
        found.append(tape.gradient(loss, [rows, norm.scale.value, norm.shift.value]))
    for narrow, exact in zip(*found, strict=True):
        np.testing.assert_allclose(tf.cast(narrow, tf.float32), exact, atol=0.02 * np.abs(exact).max())
