"""depthwise_rate and norm_rate: what the learning rate of some variables is multiplied by."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL

from t2t_lite.training.optimizer import Adafactor, make_optimizer, relative_rate, second_shapes

HPARAMS = SMALL.replace(depthwise_rate=0.25, norm_rate=3.0, clip_norm=0.0, weight_decay=0.0)


@pytest.mark.parametrize(
    "name,shape,expected",
    [
        ("depthwise", (3, 1, 4, 1), 0.25),
        ("scale", (4,), 3.0),
        ("pointwise", (4, 4), 1.0),
        ("expand", (2, 4, 4), 1.0),
    ],
)
def test_the_rate_of_a_variable(name, shape, expected):
    assert relative_rate(SimpleNamespace(name=name, shape=shape), HPARAMS) == expected


@pytest.mark.parametrize("optimizer", ["adam", "adafactor"])
def test_an_update_is_as_much_larger(optimizer):
    layer = keras.layers.Layer()
    for name, shape in (("depthwise", (2, 2)), ("scale", (2,)), ("pointwise", (2, 2))):
        layer.add_weight(name=name, shape=shape, initializer="ones")
    made = make_optimizer(HPARAMS.replace(optimizer=optimizer), layer.trainable_variables)
    made.apply([tf.ones(v.shape) for v in layer.trainable_variables], 0.01)
    depthwise, scale, pointwise = (1 - value.flatten()[0] for value in layer.get_weights())
    assert depthwise == pytest.approx(0.25 * pointwise, rel=1e-3) and scale == pytest.approx(3 * pointwise, rel=1e-3)
    assert pointwise == pytest.approx(0.01, rel=1e-3)


def test_the_shapes_of_adafactors_moments():
    assert [second_shapes(shape) for shape in ((), (3,), (3, 2), (4, 3, 2))] == [
        [()],
        [(3,)],
        [(3,), (2,)],
        [(4, 3), (4, 2)],
    ]


def test_an_update_of_adafactor_is_clipped_and_never_smaller_than_for_a_root_mean_square_of_a_thousandth():
    layer = keras.layers.Layer()
    layer.add_weight(name="pointwise", shape=(2, 2), initializer="zeros")
    optimizer = Adafactor(HPARAMS.replace(optimizer="adafactor"), layer.trainable_variables)
    optimizer.apply([tf.constant([[1.0, -1.0], [1.0, -1.0]])], 0.5)
    np.testing.assert_allclose(layer.get_weights()[0], 0.5 * 1e-3 * np.array([[-1.0, 1.0], [-1.0, 1.0]]), rtol=1e-4)
    before = layer.get_weights()[0]
    # Ten times the gradient: the second moment has moved by 1 - beta2 = 2^-0.8, and the update is cut to an RMS of 1.
    optimizer.apply([tf.constant([[10.0, -10.0], [10.0, -10.0]])], 0.5)
    moved = layer.get_weights()[0] - before
    np.testing.assert_allclose(np.abs(moved), 0.5 * 1e-3, rtol=1e-3)
