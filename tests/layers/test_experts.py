"""The mixture of experts against Shazeer et al. 2017, position by position."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, check_layer, close, floats, lengths_mask, mixed_bfloat16, normal, randomize

from t2t_lite.layers.experts import MixtureOfExperts, balancing_loss
from t2t_lite.layers.noise import layer_seed


def experts_of(experts=6, k=2, name="experts"):
    return randomize(MixtureOfExperts(8, 12, experts, k, name=name))


def run_reference(layer, x, k, valid=None, noise=None):
    flat = x.reshape(-1, x.shape[-1])
    draws = None
    if noise is not None:
        seed = layer_seed(noise, layer.name)
        draws = tf.random.stateless_normal([len(flat), layer.gate.shape[1]], seed).numpy()
    y, importance, load = reference.mixture_of_experts(
        layer, flat, k, None if valid is None else valid.reshape(-1), draws
    )
    return y.reshape(x.shape), importance, load


@pytest.mark.parametrize("experts,k", [(6, 2), (5, 4), (4, 4), (1, 1), (9, 1)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7)])
def test_equals_numpy_without_noise(experts, k, shape):
    layer, x = experts_of(experts, k), normal(*shape, 8)
    y, sums = layer(floats(x))
    expected, importance, _ = run_reference(layer, x, k)
    close(y, expected)
    close(balancing_loss(sums), importance, 1e-3)


@pytest.mark.parametrize("experts,k", [(6, 2), (5, 4), (4, 4), (9, 1)])
def test_equals_numpy_with_noise_and_padding(experts, k):
    layer, x, valid = experts_of(experts, k), normal(3, 7, 8), lengths_mask([7, 1, 4], 7)
    y, sums = layer(floats(x), valid=tf.constant(valid), noise=NOISE)
    expected, importance, load = run_reference(layer, x, k, valid, NOISE)
    close(y, expected)
    close(balancing_loss(sums), importance + load, 1e-3)
    assert sum(sums[2]) == 12 * k  # positions served: those that are not padding, each by k experts


@pytest.mark.parametrize("k", [1, 3])
def test_nothing_is_dropped_when_all_choose_the_same_experts(k):
    layer = experts_of(7, k)
    gate = np.tile(np.arange(7.0), (8, 1))  # on inputs above zero, the last experts win everywhere
    layer.gate.assign(gate)
    x = np.abs(normal(4, 25, 8)) + 0.1
    y, sums = layer(floats(x))
    expected, importance, _ = run_reference(layer, x, k)
    close(y, expected)
    assert np.abs(y).max(axis=-1).min() > 0
    assert list(sums[2]) == [0] * (7 - k) + [100] * k  # positions served
    if k == 1:
        close(balancing_loss(sums), 6.0, 1e-4)  # one of 7 experts has everything: variance / mean^2 = 7 - 1
    else:
        close(balancing_loss(sums), importance, 1e-3)


def test_padding_is_sent_nowhere():
    layer, x, valid = experts_of(), normal(2, 6, 8), lengths_mask([6, 2], 6)

    def run(x, valid):
        x = floats(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, sums = layer(x, valid=tf.constant(valid), noise=None)
            balance = balancing_loss(sums)
            loss = tf.reduce_sum(y) + balance
        return y.numpy(), balance.numpy(), tape.gradient(loss, x).numpy()

    y, balance, gradient = run(x, valid)
    assert np.all(y[~valid] == 0) and np.all(gradient[~valid] == 0) and np.abs(y[valid]).min(axis=-1).max() > 0
    other_y, other_balance, _ = run(np.where(valid[:, :, None], x, 50.0), valid)
    close(other_y, y, 1e-6)
    close(other_balance, balance, 1e-6)
    longer = np.concatenate([x, 9 * normal(2, 5, 8, seed=4)], axis=1)
    longer_y, longer_balance, _ = run(longer, np.pad(valid, [[0, 0], [0, 5]]))
    close(longer_y[:, :6], y, 1e-5)
    close(longer_balance, balance, 1e-5)


def test_padding_alone_gives_zero():
    y, sums = experts_of()(floats(normal(2, 3, 8)), valid=tf.zeros([2, 3], tf.bool), noise=NOISE)
    assert np.all(y == 0) and np.isfinite(balancing_loss(sums))


def test_noise_is_the_seed_and_the_layer_and_nothing_else():
    x, layer = floats(normal(2, 20, 8)), experts_of()

    def run(layer, noise):
        return layer(x, noise=noise)[0].numpy().tolist()

    assert run(layer, None) == run(layer, None)
    first = run(layer, NOISE)
    assert first == run(layer, NOISE) == run(experts_of(), NOISE)
    assert first != run(layer, NOISE + 1)
    assert first != run(experts_of(name="other"), NOISE)
    assert first != run(layer, None)


def test_the_balancing_losses_fall_when_experts_share_the_work():
    layer, x = experts_of(4, 1), np.abs(normal(1, 64, 8)) + 0.1
    one = np.zeros((8, 4))
    one[:, 2] = 5.0
    layer.gate.assign(one)
    _, lock_folder = layer(floats(x), noise=NOISE)
    layer.gate.assign(np.zeros((8, 4)))
    _, shared = layer(floats(x), noise=NOISE)
    assert float(balancing_loss(shared)) < 0.2 < 2.0 < float(balancing_loss(lock_folder))


def test_the_router_stays_in_float32():
    wide = experts_of(40, 4)
    with mixed_bfloat16():
        narrow = experts_of(40, 4)
    x = tf.cast(normal(2, 30, 8), tf.bfloat16)
    exact = np.asarray(tf.cast(x, tf.float64))
    _, importance, load = run_reference(wide, exact, 4, noise=NOISE)
    y, sums = narrow(x, noise=NOISE)
    assert y.dtype == tf.bfloat16
    close(balancing_loss(sums), importance + load, 1e-4)  # a router in bfloat16 is off by a percent


def test_layer(tmp_path):
    check_layer(
        lambda: MixtureOfExperts(8, 12, 6, 2, name="experts"),
        lambda layer, dtype: layer(tf.cast(normal(4, 15, 8), dtype), noise=NOISE),
        (4, 15, 8),
        tmp_path,
    )
