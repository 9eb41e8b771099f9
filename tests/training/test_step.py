"""A training step: the same update however the batch is divided, what it reports, and what a bad step leaves."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, normal

from t2t_lite.errors import UserError
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.modalities.modality import cross_entropy
from t2t_lite.models.model import Scores
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

HPARAMS = SMALL.replace(
    learning_rate=0.1, warmup_steps=0, clip_norm=0.5, adam_epsilon=1e-3, balance_loss=0.3, label_smoothing=0.1
)


class InOneProcess(Devices):
    """Several replicas on the one device."""

    def __init__(self, replicas=1):
        super().__init__()
        self.local, self.replicas = ("",) * replicas, replicas

    def all_reduce(self, values):
        return [[tf.add_n(list(column)) for column in zip(*values, strict=True)]] * self.replicas


class Classifier(keras.layers.Layer):
    """Logits (B, 3) of inputs (B, 2), and two experts whose gates are a softmax of their own; one weight is unused."""

    def __init__(self, hparams):
        super().__init__()
        self.hparams, self.noises = hparams, []
        for i, (name, shape) in enumerate((("softmax", (2, 3)), ("unused", (4,)), ("gate", (2, 2)))):
            weight = self.add_weight(name=name, shape=shape, initializer="zeros")
            weight.assign(normal(*shape, seed=i))
            setattr(self, name, weight)

    def target_weights(self, problem, batch):
        return batch.get("weights", tf.ones(tf.shape(batch["targets"])))

    def score(self, problem, batch, noise):
        self.noises.append(tuple(noise.numpy()) if noise is not None else None)
        weights = self.target_weights(problem, batch)
        logits = batch["inputs"] @ self.softmax.value
        gates = tf.nn.softmax(batch["inputs"] @ self.gate.value) * weights[:, None]
        sums = tf.stack([tf.reduce_sum(x, 0) for x in (gates, gates**2, tf.round(gates))])[None]
        loss = cross_entropy(logits, batch["targets"], self.hparams.label_smoothing)
        return Scores(logits, loss * weights, weights, sums)


BATCHES = [
    {"inputs": tf.constant(normal(rows, 2, seed=rows), tf.float32), "targets": tf.constant([0, 2, 1, 1, 0][:rows])}
    for rows in (5, 3)
]


def train(replicas=1, **changes):
    """The figures of two steps, and the weights of each replica after them."""
    hparams = HPARAMS.replace(**changes)
    models = [Classifier(hparams) for _ in range(replicas)]
    step = TrainStep(
        InOneProcess(replicas), [(model, make_optimizer(hparams, model.trainable_variables)) for model in models]
    )
    figures = [step("p", batch, number) for number, batch in enumerate(BATCHES)]
    return figures, [model.get_weights() for model in models]


def test_the_gradient_is_that_of_the_weighted_mean_loss_and_the_balancing_losses():
    hparams = HPARAMS.replace(loss_weights="p:3", experts_per_position=2)
    model, batch = Classifier(hparams), BATCHES[0]
    with tf.GradientTape() as tape:
        scores = model.score("p", batch, None)
        loss, balance = tf.reduce_mean(scores.loss), balancing_loss(scores.expert_sums)
        objective = 3 * loss + 0.3 * balance
    expected = tf.linalg.global_norm(tape.gradient(objective, [model.softmax.value, model.gate.value]))
    plain = tf.reduce_mean(cross_entropy(scores.logits, batch["targets"]))
    step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    figures = step("p", batch, 0)
    served = figures.pop("expert_load")
    np.testing.assert_allclose(served["encoder"], scores.expert_sums[0, 2])
    right = np.mean(np.argmax(scores.logits, -1) == batch["targets"].numpy())
    assert figures == pytest.approx(
        {
            "loss": float(loss),
            "log_perplexity": float(plain),
            "accuracy": right,
            "balance": float(balance),
            "gradient_norm": float(expected),
            "tokens": 5.0,
            "skipped": 0.0,
        },
        rel=1e-5,
        abs=1e-6,
    )


def test_without_experts_nothing_is_said_of_them():
    (figures, _), _ = train(use_experts=False)
    assert not [key for key in figures if key.startswith("expert")]


def test_a_single_position_counts_as_one_sent_to_the_experts():
    hparams = HPARAMS.replace(experts_per_position=1)
    model = Classifier(hparams)
    step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    figures = step("p", {key: value[:1] for key, value in BATCHES[0].items()}, 0)
    assert sum(figures["expert_load"]["encoder"]) == 1


def test_each_slice_has_noise_of_its_own_and_the_first_that_of_a_whole_batch():
    hparams = HPARAMS.replace(accumulate_steps=3)
    model = Classifier(hparams)
    step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    step("p", BATCHES[0], 7)
    first, again = model.noises[:3], model.noises[3:]
    assert len(set(first)) == 3 and first[0] == (hparams.seed, 7)
    assert again == [first[1], first[0]]  # the last one's forward pass is kept


@pytest.mark.parametrize("changes", [{"balance_loss": 0.0}, {"use_experts": False}])
def test_without_balancing_losses_each_micro_batch_is_scored_once(changes):
    model = Classifier(HPARAMS.replace(accumulate_steps=3, **changes))
    step = TrainStep(Devices(), [(model, make_optimizer(model.hparams, model.trainable_variables))])
    step("p", BATCHES[0], 7)
    assert len(model.noises) == 3


class RecordingOptimizer:
    """Takes in gradients and moves nothing."""

    def __init__(self):
        self.calls = []

    def apply(self, gradients, rate, finite=True):
        self.calls.append(SimpleNamespace(gradients=[g for g in gradients if g is not None], rate=rate, finite=finite))
        return tf.linalg.global_norm(self.calls[-1].gradients)


def recorded(**changes):
    """A step whose optimizer moves nothing; the optimizer, and the messages to the user."""
    optimizer, messages = RecordingOptimizer(), []
    step = TrainStep(Devices(), [(Classifier(HPARAMS.replace(**changes)), optimizer)])
    step.log = messages.append
    return step, optimizer, messages


def test_the_loss_scale_leaves_the_update_as_it_is():
    gradients = []
    for precision in ("float32", "float16"):
        step, optimizer, _ = recorded(precision=precision)
        step("p", BATCHES[0], 0)
        gradients.append(optimizer.calls[0].gradients)
        optimizer.guard.scale.assign(2.0 if precision == "float16" else 1.0)
        step("p", BATCHES[0], 0)
        gradients.append(optimizer.calls[1].gradients)
    for others in gradients[1:]:
        for a, b in zip(gradients[0], others, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("most", [1, 3])
def test_the_run_ends_at_the_last_of_so_many_bad_steps_in_a_row(most):
    step, optimizer, messages = recorded(max_bad_steps=most)
    good = BATCHES[1]
    bad = good | {"inputs": good["inputs"] * np.nan, "index": tf.range(100, 103)}
    for number in range(most - 1):
        assert step("p", bad, number) == {"tokens": 3.0, "skipped": 1.0}
    assert step("p", good, 7)["skipped"] == 0.0
    for number in range(most - 1):
        step("p", bad, number)
    with pytest.raises(UserError, match=r"step 10: .*max_bad_steps.* examples 100, 101, 102 of "):
        step("p", bad, 9)
    assert len(messages) == 2 * (most - 1)
    assert [call.finite for call in optimizer.calls] == [*[False] * (most - 1), True, *[False] * most]


@pytest.mark.parametrize("precision,in_row", [("float32", 1), ("float16", 0)])
def test_a_gradient_that_overflows_skips_the_step_and_halves_the_loss_scale(precision, in_row):
    step, optimizer, messages = recorded(precision=precision)
    optimizer.apply = lambda gradients, rate, finite: tf.constant(np.inf)
    before = float(optimizer.guard.scale)
    assert step("p", BATCHES[0], 4) == {"tokens": 5.0, "skipped": 1.0}
    (message,) = messages
    assert "step 5: the gradient is not finite" in message
    assert int(optimizer.guard.in_row) == in_row
    assert float(optimizer.guard.scale) == (before if in_row else before / 2)


def test_of_many_bad_examples_the_first_twenty_are_named():
    step, _, _ = recorded(max_bad_steps=1)
    bad = {"inputs": tf.fill([21, 2], np.nan), "targets": tf.zeros([21], tf.int32), "index": tf.range(21)}
    with pytest.raises(UserError, match=r" 0, 1, .*, 18, 19, \.\.\. of "):
        step("p", bad, 0)
    del bad["index"]
    with pytest.raises(UserError, match="examples unknown"):
        step("p", bad, 1)


@pytest.mark.parametrize("replicas,accumulate_steps", [(1, 2), (1, 3), (2, 1), (2, 2), (3, 2)])
def test_replicas_and_slices_make_the_step_of_one_device(replicas, accumulate_steps):
    expected, (expected_weights,) = train()
    figures, weights = train(replicas, accumulate_steps=accumulate_steps)
    for mine, theirs in zip(figures, expected, strict=True):
        np.testing.assert_array_equal(mine.pop("expert_load")["encoder"], theirs.pop("expert_load")["encoder"])
        assert mine == pytest.approx(theirs, rel=1e-4)
    for of_replica in weights:
        for a, b in zip(of_replica, expected_weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert not np.allclose(expected_weights[0], normal(2, 3))
    np.testing.assert_array_equal(expected_weights[1], normal(4, seed=1).astype(np.float32))
