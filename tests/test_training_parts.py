"""Adam and the learning rate."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import SMALL, close, floats, normal

from t2t_lite.errors import UserError
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.training.optimizer import Adam, learning_rate

ADAM = SMALL.replace(learning_rate=0.1, warmup_steps=3, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-8)


class Weights(keras.layers.Layer):
    """Three weights to optimize."""

    def __init__(self, seed=0):
        super().__init__()
        for i, shape in enumerate([(3, 2), (4,), (2,)]):
            weight = self.add_weight(name=f"w{i}", shape=shape, initializer="zeros")
            weight.assign(normal(*shape, seed=seed + i))
            setattr(self, f"w{i}", weight)


def some_gradients(steps, missing=()):
    """Gradients of each step; (step, weight) in `missing` has none."""
    shapes = [(3, 2), (4,), (2,)]
    return [
        [None if (s, i) in missing else (0.2 + s) * normal(*shape, seed=10 * s + i) for i, shape in enumerate(shapes)]
        for s in range(steps)
    ]


def given(gradients):
    return [None if g is None else floats(g) for g in gradients]


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1000.0])
def test_adam_equals_numpy(clip_norm):
    hparams = ADAM.replace(clip_norm=clip_norm)
    weights = Weights()
    start, gradients = weights.get_weights(), some_gradients(6, missing={(1, 0), (2, 1), (3, 0), (3, 1)})
    optimizer = Adam(hparams, weights.trainable_variables)
    for row in gradients:
        norm = optimizer.apply(given(row))
        close(norm, np.sqrt(sum((g**2).sum() for g in row if g is not None)), 1e-5)
    rates = [learning_rate(hparams, step) for step in range(6)]
    expected, first, second = reference.adam(start, gradients, rates, 0.8, 0.9, 1e-8, clip_norm)
    for i in range(3):
        close(weights.weights[i].value, expected[i], 1e-5)
        close(optimizer.first[i], first[i], 1e-5)
        close(optimizer.second[i], second[i], 1e-5)
    assert int(optimizer.step) == 6


def test_adam_leaves_alone_what_has_no_gradient():
    weights = Weights()
    optimizer = Adam(ADAM, weights.trainable_variables)
    optimizer.apply(given(some_gradients(1)[0]))
    before = [[v.numpy() for v in part] for part in (weights.trainable_variables, optimizer.first, optimizer.second)]
    optimizer.apply(given(some_gradients(1, missing={(0, 1)})[0]))
    after = [[v.numpy() for v in part] for part in (weights.trainable_variables, optimizer.first, optimizer.second)]
    for was, now in zip(before, after, strict=True):
        assert [np.array_equal(a, b) for a, b in zip(was, now, strict=True)] == [False, True, False]


def test_adam_takes_the_sparse_gradient_of_an_embedding():
    table = Weights()
    optimizer = Adam(ADAM.replace(clip_norm=0.0), [table.w0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table.w0, [0, 0, 2]) * 0.5)
    start = table.w0.numpy()
    optimizer.apply(tape.gradient(loss, [table.w0]))
    dense = np.array([[1.0, 1.0], [0.0, 0.0], [0.5, 0.5]])
    expected, _, _ = reference.adam([start], [[dense]], [learning_rate(ADAM, 0)], 0.8, 0.9, 1e-8, 0.0)
    close(table.w0.value, expected[0], 1e-5)


def test_a_resumed_adam_goes_on_as_if_never_stopped(tmp_path):
    gradients = [given(row) for row in some_gradients(5)]
    weights = Weights()
    optimizer = Adam(ADAM, weights.trainable_variables)
    for row in gradients[:3]:
        optimizer.apply(row)
    Checkpoints(tmp_path, weights, optimizer).save(3)
    resumed = Weights(seed=7)
    second = Adam(ADAM, resumed.trainable_variables)
    assert Checkpoints(tmp_path, resumed, second).restore() == 3
    for row in gradients[3:]:
        optimizer.apply(row)
        second.apply(row)
    for mine, theirs in zip(weights.get_weights(), resumed.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)


def test_checkpoints_restore_weights_alone_and_say_when_there_are_none(tmp_path):
    weights = Weights()
    with pytest.raises(UserError, match="no checkpoint"):
        Checkpoints(tmp_path, weights).restore_weights()
    assert Checkpoints(tmp_path, weights).restore() == 0
    optimizer = Adam(ADAM, weights.trainable_variables)
    optimizer.apply(given(some_gradients(1)[0]))
    Checkpoints(tmp_path, weights, optimizer).save(1)
    other = Weights(seed=7)
    assert Checkpoints(tmp_path, other).restore_weights() == 1
    assert np.array_equal(other.get_weights()[0], weights.get_weights()[0])


@pytest.mark.parametrize(
    "schedule,expected",  # the rates of the steps 0, 4, 9, 39, 59, 109 and 209, of a peak of 1
    [
        ("constant", [0.1, 0.5, 1, 1, 1, 1, 1]),
        ("rsqrt", [0.1, 0.5, 1, 0.5, (1 / 6) ** 0.5, (1 / 11) ** 0.5, (1 / 21) ** 0.5]),
        ("linear", [0.1, 0.5, 1, 0.7, 0.5, 0, 0]),
        ("cosine", [0.1, 0.5, 1, 0.5 + 0.5 * np.cos(0.3 * np.pi), 0.5, 0, 0]),
    ],
)
def test_learning_rate(schedule, expected):
    hparams = SMALL.replace(learning_rate=1.0, schedule=schedule, warmup_steps=10, decay_steps=110)
    rates = [learning_rate(hparams, step) for step in (0, 4, 9, 39, 59, 109, 209)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_learning_rate_without_warm_up_starts_at_the_peak():
    for schedule in ("constant", "rsqrt"):
        hparams = SMALL.replace(learning_rate=0.3, schedule=schedule, warmup_steps=0)
        assert learning_rate(hparams, 0) == pytest.approx(0.3)
