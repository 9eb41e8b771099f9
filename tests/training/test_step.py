"""A training step: the same update however the batch is divided, what it reports, and what a bad step leaves."""

import functools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, batch_of, eagerly, five_problems

from t2t_lite.models.multi_model import MultiModel, Scores
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

QUIET = SMALL.replace(
    encoder_blocks=1,
    mixer_blocks=1,
    decoder_blocks=1,
    image_strides=1,
    dropout=0.0,
    gating_noise=False,
    learning_rate=1e-2,
    warmup_steps=0,
    adam_epsilon=1e-3,
    clip_norm=0.5,
    balance_loss=0.1,
    label_smoothing=0.1,
)


class InOneProcess(Devices):
    """Several replicas on the one device."""

    def __init__(self, replicas):
        super().__init__()
        self.local, self.replicas = ("",) * replicas, replicas

    def sum(self, values):
        return [[tf.add_n(list(column)) for column in zip(*values, strict=True)]] * self.replicas


@functools.cache
def trained(problem, replicas, accumulate_steps):
    """The figures and the weights after two steps on batches of 5 and 3 examples."""
    hparams = QUIET.replace(accumulate_steps=accumulate_steps)
    problems = {problem: five_problems()[problem]}
    copies = []
    with eagerly():
        for _ in range(replicas):
            random.seed(0)
            model = MultiModel(hparams, problems, {"words": 30})
            copies.append((model, make_optimizer(hparams, model.trainable_variables)))
        step = TrainStep(InOneProcess(replicas), copies)
        figures = [
            step(problem, batch_of(problems[problem], seed=number, rows=rows), number)
            for number, rows in enumerate((5, 3))
        ]
    weights = [[v.numpy() for v in model.trainable_variables] for model, _ in copies]
    return figures, weights


@pytest.mark.parametrize("problem", ["classes", "translate"])
@pytest.mark.parametrize("replicas,accumulate_steps", [(1, 2), (1, 3), (2, 1), (2, 2)])
def test_replicas_and_slices_make_the_step_of_one_device(problem, replicas, accumulate_steps):
    expected, (expected_weights,) = trained(problem, 1, 1)
    figures, weights = trained(problem, replicas, accumulate_steps)
    for mine, theirs in zip(figures, expected, strict=True):
        loads, expected_loads = (dict(f["expert_load"]) for f in (mine, theirs))
        assert {name: load.tolist() for name, load in loads.items()} == {
            name: load.tolist() for name, load in expected_loads.items()
        }
        for key in theirs.keys() - {"expert_load"}:
            assert mine[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-6), key
    for of_replica in weights:
        for a, b in zip(of_replica, expected_weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_figures_of_a_step():
    (first, _), _ = trained("translate", 1, 1)
    assert first["skipped"] == 0.0 and first["tokens"] == 6 + 5 + 4 + 3 + 2  # of five examples, padded at their ends
    assert first["log_perplexity"] != first["loss"] > 0  # one has label smoothing
    assert 0 <= first["accuracy"] <= 1 and first["gradient_norm"] > 0 and first["balance"] > 0
    assert {name: round(float(load.sum())) for name, load in first["expert_load"].items()} == {
        "encoder": (7 + 6 + 5 + 4 + 3) * QUIET.experts_per_position,
        "decoder": 20 * QUIET.experts_per_position,
    }
    assert first["expert_dropped/encoder"] == first["expert_dropped/decoder"] == 0.0
    (classes, _), _ = trained("classes", 1, 1)
    assert classes["tokens"] == 5 and classes["expert_load"].keys() == {"encoder"}


class OneWeight:
    """A model of one weight whose loss is given by the batch; its experts serve half of what they are sent."""

    hparams = SMALL.replace(max_bad_steps=3, accumulate_steps=1, dropout=0.0, clip_norm=0.0, learning_rate=0.0)

    def __init__(self):
        self.weight = tf.Variable(1.0)
        self.trainable_variables = [self.weight]

    def target_weights(self, problem, batch):
        return tf.ones(tf.shape(batch["targets"]))

    def score(self, problem, batch, noise):
        loss = self.weight * batch["losses"]
        sums = tf.constant([[[4.0, 2.0], [1.0, 1.0], [4.0, 2.0]]])  # importance, load, served: 12 were sent
        return Scores(batch["logits"], loss, tf.ones_like(loss), sums)


class RecordingOptimizer:
    """Takes gradients in, moves nothing."""

    def __init__(self):
        self.calls = []

    def apply(self, gradients, rate, finite=True):
        self.calls.append(SimpleNamespace(gradients=[float(g) for g in gradients], rate=rate, finite=finite))
        return tf.linalg.global_norm(gradients)


def one_weight(**changes):
    model, optimizer, told = OneWeight(), RecordingOptimizer(), []
    model.hparams = OneWeight.hparams.replace(**changes)
    step = TrainStep(Devices(), [(model, optimizer)])
    step.tell = told.append
    return step, optimizer, told


def batch_with(*losses):
    targets = tf.zeros([len(losses)], tf.int32)
    logits = tf.constant([[1.0, 0.0]] + [[0.0, 1.0]] * (len(losses) - 1))
    return {"losses": tf.constant(losses), "targets": targets, "logits": logits}


def test_loss_and_gradient_are_means_over_targets_and_the_figures_are_of_the_whole_batch():
    step, optimizer, _ = one_weight()
    figures = step("p", batch_with(1.0, 2.0, 6.0, 7.0), 0)
    assert figures["loss"] == figures["log_perplexity"] == 4.0 and figures["accuracy"] == 0.25
    assert figures["tokens"] == 4.0 and figures["gradient_norm"] == 4.0
    assert optimizer.calls[0].gradients == [4.0] and optimizer.calls[0].finite
    assert {name: load.tolist() for name, load in figures["expert_load"].items()} == {"encoder": [4.0, 2.0]}
    assert figures["expert_dropped/encoder"] == pytest.approx(1 - 6 / (6 * SMALL.experts_per_position))


def test_the_loss_scale_of_float16_leaves_the_update_as_it_is():
    step, optimizer, _ = one_weight(precision="float16")
    assert step("p", batch_with(1.0, 3.0), 0)["loss"] == 2.0
    assert optimizer.calls[0].gradients == [2.0]


@pytest.mark.parametrize("most", [1, 3])
def test_the_run_ends_at_the_last_of_so_many_bad_steps_in_a_row(most):
    step, optimizer, told = one_weight(max_bad_steps=most)
    good, bad = batch_with(1.0, 2.0), batch_with(1.0, np.nan)
    for number in range(most - 1):
        assert step("p", bad, number) == {"tokens": 2.0, "skipped": 1.0}
    step("p", good, 7)
    for number in range(most - 1):
        step("p", bad, number)
    with pytest.raises(Exception, match="max_bad_steps"):
        step("p", bad, 9)
    assert len(told) == 2 * (most - 1)
    assert [call.finite for call in optimizer.calls] == [*[False] * (most - 1), True, *[False] * most]
