"""Adam, AdamW and Adafactor against NumPy and Keras; skipped steps, missing gradients, checkpoints."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import SMALL, batch_of, close, eagerly, five_problems, floats, normal, randomize

from t2t_lite.errors import UserError
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

ADAM = SMALL.replace(adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-8, clip_norm=0.0)
EACH = [
    ADAM,
    ADAM.replace(optimizer="adamw", weight_decay=0.3),
    ADAM.replace(optimizer="adafactor", weight_decay=0.3),
]
each = pytest.mark.parametrize("hparams", EACH, ids=lambda hparams: hparams.optimizer)
RATES = [0.02, 0.1, 0.08, 0.06, 0.05, 0.04]
LATE = {(0, 1), (1, 0), (1, 1), (2, 1), (3, 0)}  # weight 1 has gradients from step 3 on, weight 0 misses two steps


class Weights(keras.layers.Layer):
    """Three weights to optimize."""

    def __init__(self, seed=0):
        super().__init__()
        for i, shape in enumerate([(3, 2), (4,), (2, 2, 3)]):
            weight = self.add_weight(name=f"w{i}", shape=shape, initializer="zeros")
            weight.assign(normal(*shape, seed=seed + i))
            setattr(self, f"w{i}", weight)


def some_gradients(steps, missing=()):
    """Gradients of each step; (step, weight) in `missing` has none."""
    shapes = [(3, 2), (4,), (2, 2, 3)]
    return [
        [None if (s, i) in missing else (0.2 + s) * normal(*shape, seed=10 * s + i) for i, shape in enumerate(shapes)]
        for s in range(steps)
    ]


def given(gradients):
    return [None if g is None else floats(g) for g in gradients]


def expected_weights(hparams, start, gradients):
    options = {"clip_norm": hparams.clip_norm, "weight_decay": hparams.weight_decay}
    if hparams.optimizer == "adafactor":
        return reference.adafactor(start, gradients, RATES, **options)
    return reference.adam(start, gradients, RATES, 0.8, 0.9, 1e-8, **options)[0]


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 1000.0])
@each
def test_equals_numpy_with_missing_gradients(hparams, clip_norm):
    hparams = hparams.replace(clip_norm=clip_norm)
    weights = Weights()
    start, gradients = weights.get_weights(), some_gradients(6, missing=LATE)
    optimizer = make_optimizer(hparams, weights.trainable_variables)
    for row, rate in zip(gradients, RATES, strict=True):
        norm = optimizer.apply(given(row), rate)
        close(norm, np.sqrt(sum((g**2).sum() for g in row if g is not None)), 1e-5)
    for weight, expected in zip(weights.weights, expected_weights(hparams, start, gradients), strict=True):
        close(weight.value, expected, 2e-5)
    assert int(optimizer.step) == 6
    assert optimizer.updates.numpy().tolist() == [4, 3, 6]


@each
def test_equals_keras(hparams):
    mine, theirs = Weights(), Weights()
    optimizer = make_optimizer(hparams, mine.trainable_variables)
    # Keras's Adafactor takes the lesser of the rate and t^-0.5: these rates.
    other = {
        "adam": lambda: keras.optimizers.Adam(0.1, 0.8, 0.9, 1e-8),
        "adamw": lambda: keras.optimizers.AdamW(0.1, hparams.weight_decay, 0.8, 0.9, 1e-8),
        "adafactor": lambda: keras.optimizers.Adafactor(0.1, weight_decay=hparams.weight_decay),
    }[hparams.optimizer]()
    if hparams.weight_decay:
        other.exclude_from_weight_decay(var_list=[theirs.w1])
    for row in some_gradients(5):
        optimizer.apply(given(row), 0.1)
        other.apply_gradients(zip(given(row), theirs.trainable_variables, strict=True))
    for one, two in zip(mine.weights, theirs.weights, strict=True):
        close(one.value, two.numpy(), 2e-5)


@each
def test_the_first_update_of_a_weight_is_the_same_at_any_step(hparams):
    early, late = Weights(), Weights()
    row = some_gradients(1)[0]
    make_optimizer(hparams, early.trainable_variables).apply(given(row), 0.1)
    optimizer = make_optimizer(hparams, late.trainable_variables)
    for _ in range(50):
        optimizer.apply(given([row[0], None, None]), 0.0)
    optimizer.apply(given([row[0], *row[1:]]), 0.1)
    for i in (1, 2):
        close(late.weights[i].value, early.weights[i].numpy(), 1e-6)


def state(weights, optimizer):
    """The values of all weights and of the optimizer's variables, except its count of steps."""
    kept = [v for v in optimizer.variables if v is not optimizer.step]
    return [v.numpy() for v in (*weights.trainable_variables, *kept)]


@each
def test_does_not_change_weights_without_gradient(hparams):
    weights = Weights()
    optimizer = make_optimizer(hparams, weights.trainable_variables)
    first, second = some_gradients(2, missing={(1, 1)})
    optimizer.apply(given(first), 0.1)

    def of_weight(i):
        moments = [getattr(optimizer, name)[i] for name in ("first", "second") if hasattr(optimizer, name)]
        return [
            weights.weights[i].numpy(),
            optimizer.updates.numpy()[i],
            *(m.numpy() for m in tf.nest.flatten(moments)),
        ]

    before = [of_weight(i) for i in range(3)]
    optimizer.apply(given(second), 0.1)
    for i, was in enumerate(before):
        same = [np.array_equal(a, b) for a, b in zip(was, of_weight(i), strict=True)]
        assert same == [i == 1] * len(was)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@each
def test_skips_a_step_that_is_not_finite(hparams, wrong):
    weights = Weights()
    optimizer = make_optimizer(hparams, weights.trainable_variables)
    first, second = some_gradients(2)
    spoilt = [g.copy() for g in first]
    spoilt[1][2] = wrong
    for gradients, finite in ((first, True), (spoilt, True), (second, False)):
        before = state(weights, optimizer)
        norm = optimizer.apply(given(gradients), 0.1, finite)
        moved = not all(np.array_equal(a, b) for a, b in zip(before, state(weights, optimizer), strict=True))
        assert moved == (gradients is first)
        assert np.isfinite(norm) == (gradients is not spoilt)
    assert int(optimizer.step) == 3
    assert optimizer.updates.numpy().tolist() == [1, 1, 1]
    # Further steps equal those of an optimizer without the skipped steps.
    other = Weights()
    straight = make_optimizer(hparams, other.trainable_variables)
    for row in (first, second):
        straight.apply(given(row), 0.1)
    optimizer.apply(given(second), 0.1)
    for one, two in zip(state(weights, optimizer), state(other, straight), strict=True):
        np.testing.assert_array_equal(one, two)


@each
def test_a_step_leaves_the_rows_of_other_commands_alone(hparams):
    commands = keras.Variable(floats(normal(3, 4)), name="commands")
    optimizer = make_optimizer(hparams, [commands])
    alone = keras.Variable(floats(normal(3, 4)[1:2]), name="one_row")
    alone_optimizer = make_optimizer(hparams, [alone])
    before = commands.numpy()
    for step in range(4):
        row = normal(1, 4, seed=step)
        optimizer.apply([floats(np.concatenate([0 * row, row, 0 * row]))], 0.1)
        alone_optimizer.apply([floats(row)], 0.1)
    after = commands.numpy()
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    if hparams.optimizer != "adafactor":  # whose means over the rows count those of the others as zero
        close(after[1:2], alone.numpy(), 1e-5)
    assert np.abs(after[1] - before[1]).min() > 0


def test_weight_decay_excludes_variables_of_rank_one():
    weights, decayed = Weights(), Weights()
    row = given(some_gradients(1)[0])
    make_optimizer(EACH[1].replace(weight_decay=0.0), weights.trainable_variables).apply(row, 0.1)
    make_optimizer(EACH[1], decayed.trainable_variables).apply(row, 0.1)
    start = Weights().get_weights()
    for i in range(3):
        decay = 0.1 * 0.3 if i != 1 else 0.0
        close(decayed.weights[i].value, weights.weights[i].numpy() - decay * start[i], 1e-6)


def test_norms_and_biases_of_the_model_are_of_rank_one():
    model = MultiModel(SMALL, five_problems(), {"words": 30})
    small = {v.name for v in model.trainable_variables if len(v.shape) < 2}
    assert {"scale", "shift"} <= small
    large = {v.name for v in model.trainable_variables if len(v.shape) >= 2}
    assert not large & {"scale", "shift", "bias"}
    assert {"embedding", "depthwise", "pointwise"} <= large


@each
def test_accepts_the_sparse_gradient_of_an_embedding(hparams):
    table = Weights()
    optimizer = make_optimizer(hparams, [table.w0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table.w0, [0, 0, 2]) * floats([[0.5, 1.0]]))
    start = table.w0.numpy()
    optimizer.apply(tape.gradient(loss, [table.w0]), RATES[0])
    dense = np.array([[1.0, 2.0], [0.0, 0.0], [0.5, 1.0]])
    options = {"weight_decay": hparams.weight_decay}
    if hparams.optimizer == "adafactor":
        (expected,) = reference.adafactor([start], [[dense]], RATES[:1], **options)
    else:
        (expected,) = reference.adam([start], [[dense]], RATES[:1], 0.8, 0.9, 1e-8, **options)[0]
    close(table.w0.value, expected, 1e-5)


@each
def test_a_restored_optimizer_equals_one_never_stopped(hparams, tmp_path):
    hparams = hparams.replace(average_decay=0.9)
    gradients = [given(row) for row in some_gradients(6, missing=LATE)]
    weights = Weights()
    optimizer = make_optimizer(hparams, weights.trainable_variables)
    for row in gradients[:4]:
        optimizer.apply(row, 0.1)
    Checkpoints(tmp_path, weights, optimizer).save(4)
    resumed = Weights(seed=7)
    second = make_optimizer(hparams, resumed.trainable_variables)
    Checkpoints(tmp_path, resumed, second).restore()
    assert int(second.step) == 4
    for row in gradients[4:]:
        optimizer.apply(row, 0.1)
        second.apply(row, 0.1)
    for mine, theirs in zip(state(weights, optimizer), state(resumed, second), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_adafactor_keeps_means_of_rows_and_columns():
    weights = Weights()
    optimizer = make_optimizer(EACH[2], weights.trainable_variables)
    assert [[tuple(m.shape) for m in moments] for moments in optimizer.second] == [
        [(3,), (2,)],
        [(4,)],
        [(2, 2), (2, 3)],
    ]


def test_traced_once_for_each_set_of_variables(monkeypatch):
    weights = Weights()
    optimizer = make_optimizer(ADAM, weights.trainable_variables)
    traced = []
    step = optimizer._step
    monkeypatch.setattr(optimizer, "_step", lambda present, *rest: traced.append(present) or step(present, *rest))
    for number in range(3):
        for missing in (set(), {(0, 1)}):
            optimizer.apply(given(some_gradients(1, missing)[0]), 0.1 * number)
    assert traced == [(0, 1, 2), (0, 2)]


@pytest.mark.slow
def test_loss_weights_scale_the_gradient():
    """Without the balancing loss a weight of 3 makes the gradient three times as large; a weight of 0 makes none."""
    norms = {}
    for name, text in (("plain", ""), ("three", "caption:2,translate:3"), ("none", "translate:0")):
        hparams = SMALL.replace(dropout=0.0, balance_loss=0.0, loss_weights=text, learning_rate=0.0)
        model = randomize(MultiModel(hparams, five_problems(), {"words": 30}))
        with eagerly():
            optimizer = make_optimizer(hparams, model.trainable_variables)
            batch = batch_of(model.problems["translate"])
            figures = TrainStep(Devices(), [(model, optimizer)])("translate", batch, 0)
        norms[name] = figures["gradient_norm"]
        assert figures["loss"] > 0  # the loss shown is not weighted
    assert norms["three"] == pytest.approx(3 * norms["plain"], rel=1e-4)
    assert norms["none"] == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adams"}, "optimizer is 'adams', expected one of adam, adamw, adafactor"),
        ({"weight_decay": 0.1}, "weight_decay=0.1 is for optimizer=adamw or adafactor, not adam"),
        ({"optimizer": "adamw", "weight_decay": -0.1}, "weight_decay=-0.1 must be at least 0"),
        ({"average_decay": 1.0}, "average_decay=1.0 must be at least 0 and below 1"),
        ({"schedule": "noom"}, "schedule is 'noom', expected one of noam, rsqrt, cosine, linear, constant"),
        ({"loss_weights": "a"}, "loss_weights: 'a' is not of the form name:weight"),
        ({"loss_weights": "a:-1"}, "loss_weights: 'a:-1' is not of the form"),
        ({"loss_weights": "a:nan"}, "loss_weights: 'a:nan' is not of the form"),
        ({"loss_weights": "a:1,a:2"}, "loss_weights: 'a' comes twice"),
    ],
)
def test_wrong_hparams_are_errors(changes, message):
    with pytest.raises(UserError) as e:
        SMALL.replace(**changes)
    assert message in str(e.value)
