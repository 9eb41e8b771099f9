"""The mixture of experts against the equations of Shazeer et al. 2017, position by position."""

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
    """y as x, importance (E,), load (E,) or None, and the balancing loss of both."""
    flat = x.reshape(-1, x.shape[-1])
    normal = None
    if noise is not None:
        seed = layer_seed(noise, layer.name)
        normal = tf.random.stateless_normal([len(flat), layer.gate.shape[1]], seed).numpy()
    y, importance, load = reference.mixture_of_experts(
        layer, flat, k, None if valid is None else valid.reshape(-1), normal
    )
    balance = reference.squared_variation(importance)
    if load is not None:
        balance += reference.squared_variation(load)
    return y.reshape(x.shape), importance, load, balance


@pytest.mark.parametrize("experts,k", [(6, 2), (5, 4), (4, 4), (1, 1), (9, 1)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7)])
def test_equals_numpy_without_noise(experts, k, shape):
    layer, x = experts_of(experts, k), normal(*shape, 8)
    y, sums = layer(floats(x))
    expected, importance, _, balance = run_reference(layer, x, k)
    close(y, expected)
    close(sums[0], importance, 1e-3)
    close(balancing_loss(sums), balance, 1e-3)


@pytest.mark.parametrize("experts,k", [(6, 2), (5, 4), (9, 1)])
def test_equals_numpy_with_noise_and_padding(experts, k):
    layer, x, valid = experts_of(experts, k), normal(3, 7, 8), lengths_mask([7, 1, 4], 7)
    y, sums = layer(floats(x), valid=tf.constant(valid), noise=NOISE)
    expected, importance, load, balance = run_reference(layer, x, k, valid, NOISE)
    close(y, expected)
    close(sums[0], importance, 1e-3)
    close(sums[1], load, 1e-3)
    close(balancing_loss(sums), balance, 1e-3)
    assert sum(sums[2]) == 12 * k  # each of the 12 valid positions is processed by k experts


@pytest.mark.parametrize("rows", [1, 2, 3, 7])  # 1 and 2 run the chosen experts in a loop, 3 and more all in a product
def test_step_equals_numpy(rows):
    layer, x = experts_of(6, 2), normal(rows, 8)
    close(layer.step(floats(x)), run_reference(layer, x, 2)[0])


def test_load_is_balanced_if_all_experts_are_chosen():
    layer, x = experts_of(4, 4), normal(3, 7, 8)
    y, sums = layer(floats(x), noise=NOISE)
    expected, importance, load, balance = run_reference(layer, x, 4, noise=NOISE)
    close(y, expected)
    close(sums[0], importance, 1e-3)
    assert len(set(load)) == len(set(sums[1].numpy())) == 1
    close(balancing_loss(sums), balance, 1e-3)


@pytest.mark.parametrize("k", [1, 3])
def test_nothing_is_dropped_when_all_choose_the_same_experts(k):
    layer = experts_of(7, k)
    gate = np.tile(np.arange(7.0), (8, 1))  # positive inputs all choose the last experts
    layer.gate.assign(gate)
    x = np.abs(normal(4, 25, 8)) + 0.1
    y, sums = layer(floats(x))
    expected, _, _, balance = run_reference(layer, x, k)
    close(y, expected)
    assert np.abs(y).max(axis=-1).min() > 0
    assert list(sums[2]) == [0] * (7 - k) + [100] * k  # positions processed
    if k == 1:
        close(balancing_loss(sums), 6.0, 1e-4)  # one of 7 experts gets all positions: variance / mean^2 = 7 - 1
    else:
        close(balancing_loss(sums), balance, 1e-3)


def test_padding_is_sent_to_no_expert():
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


def test_batch_of_padding_only_gives_zero():
    y, sums = experts_of()(floats(normal(2, 3, 8)), valid=tf.zeros([2, 3], tf.bool), noise=NOISE)
    assert np.all(y == 0) and np.isfinite(balancing_loss(sums))


def test_noise_depends_on_seed_and_layer_only():
    x, layer = floats(normal(2, 20, 8)), experts_of()

    def run(layer, noise):
        return layer(x, noise=noise)[0].numpy().tolist()

    assert run(layer, None) == run(layer, None)
    first = run(layer, NOISE)
    assert first == run(layer, NOISE) == run(experts_of(), NOISE)
    assert first != run(layer, NOISE + 1)
    assert first != run(experts_of(name="other"), NOISE)
    assert first != run(layer, None)


def test_balancing_loss_is_lower_for_balanced_experts():
    layer, x = experts_of(4, 1), np.abs(normal(1, 64, 8)) + 0.1
    gate = np.zeros((8, 4))
    gate[:, 2] = 5.0
    layer.gate.assign(gate)
    _, unbalanced = layer(floats(x), noise=NOISE)
    layer.gate.assign(np.zeros((8, 4)))
    _, balanced = layer(floats(x), noise=NOISE)
    assert float(balancing_loss(balanced)) < 0.2 < 2.0 < float(balancing_loss(unbalanced))


def test_the_router_stays_in_float32():
    wide = experts_of(40, 4)
    with mixed_bfloat16():
        narrow = experts_of(40, 4)
    x = tf.cast(normal(2, 30, 8), tf.bfloat16)
    exact = np.asarray(tf.cast(x, tf.float64))
    _, _, _, balance = run_reference(wide, exact, 4, noise=NOISE)
    y, sums = narrow(x, noise=NOISE)
    assert y.dtype == tf.bfloat16
    close(balancing_loss(sums), balance, 1e-4)  # with a router in bfloat16 it would be off by 1%


def test_layer(tmp_path):
    check_layer(
        lambda: MixtureOfExperts(8, 12, 6, 2, name="experts"),
        lambda layer, dtype: layer(tf.cast(normal(4, 15, 8), dtype), noise=NOISE),
        (4, 15, 8),
        tmp_path,
    )
