"""The gradient of a training step equals that of one plain tape over the whole objective, noise and dropout on.

Run as a script it checks two replicas, in a process of its own: a CPU is divided into logical devices only once,
before TensorFlow starts.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, SMALL, batch_of, close, eagerly, five_problems, randomize

from t2t_lite.layers.noise import step_seed
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.training.devices import Devices, open_devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

STEP, SMOOTHING = 7, 0.2
# All noise is on: the defaults have dropout and gating noise.
HPARAMS = SMALL.replace(
    encoder_blocks=1,
    decoder_blocks=1,
    balance_loss=2.0,
    label_smoothing=SMOOTHING,
    loss_weights="translate:3",
    seed=11,
)


def model_of(name, hparams=HPARAMS):
    return randomize(MultiModel(hparams, {name: five_problems()[name]}, {"words": 30}, name="model"))


def plain_gradient(model, name, batch, slices):
    """One tape over `loss weight * mean loss + balance_loss * balancing losses`; the balancing losses' own gradient.

    Returns:
      The gradient, the balancing losses' part of it, the mean loss, the balancing losses, and the sums of importance,
      load and positions over the slices (layers, 3, E).
    """
    size = len(batch["targets"]) // slices
    seeds = [step_seed(HPARAMS.seed, STEP, number) for number in range(slices)]
    with tf.GradientTape(persistent=True) as tape:
        scores = [
            model.score(name, {key: value[i * size : (i + 1) * size] for key, value in batch.items()}, seed)
            for i, seed in enumerate(seeds)
        ]
        targets = sum(tf.reduce_sum(s.weights) for s in scores)
        loss = sum(tf.reduce_sum(s.loss) for s in scores) / targets
        sums = sum(s.expert_sums for s in scores)
        importance, load = sums[:, 0], sums[:, 1]
        balance = sum(
            tf.reduce_sum(tf.math.reduce_variance(x, axis=-1) / tf.reduce_mean(x, axis=-1) ** 2)
            for x in (importance, load)
        )
        weighted_balance = HPARAMS.balance_loss * balance
        objective = HPARAMS.loss_weight(name) * loss + weighted_balance
    weights = model.trainable_variables
    return (
        as_arrays(tape.gradient(objective, weights)),
        as_arrays(tape.gradient(weighted_balance, weights)),
        float(loss),
        float(balance),
        sums.numpy(),
    )


def as_arrays(gradients):
    return [None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]


def norm(gradients):
    return np.sqrt(sum(float((g**2).sum()) for g in gradients if g is not None))


def check_step(devices, name, accumulate_steps):
    """Takes one step, with an optimizer that records its gradients in place of an update."""
    hparams = HPARAMS.replace(accumulate_steps=accumulate_steps)
    copies = devices.build_replicas(lambda: (model_of(name, hparams), make_optimizer(hparams, [])))
    recorded = []

    def record(gradients, rate, finite):
        recorded.append(as_arrays(gradients))
        return tf.constant(1.0)

    for _, optimizer in copies:
        optimizer.apply = record
    train_step = TrainStep(devices, copies)
    batch = batch_of(five_problems()[name], rows=4)
    figures = train_step(name, batch, STEP)

    slices = devices.replicas * accumulate_steps
    expected, of_balance, loss, balance, sums = plain_gradient(copies[0][0], name, batch, slices)
    assert norm(of_balance) > 0.1 * norm(expected)  # or an error in it would not show
    assert len(recorded) == devices.replicas
    for gradients in recorded:
        for gradient, other in zip(gradients, expected, strict=True):
            assert (gradient is None) == (other is None)
            if gradient is not None:
                assert np.linalg.norm(gradient - other) <= 1e-4 * np.linalg.norm(other) + 1e-6
    assert figures["loss"] == pytest.approx(loss, rel=1e-5)
    assert figures["balance"] == pytest.approx(balance, rel=1e-4)
    close(train_step.expert_sums, sums, 1e-5)


@pytest.mark.parametrize("name", ["translate", "classes"])
@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_gradient_of_a_step_equals_that_of_one_tape(name, accumulate_steps):
    with eagerly():
        check_step(Devices(), name, accumulate_steps)


def test_two_replicas_sum_gradients_importance_and_load():
    tests = Path(__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": f"{tests.parent}:{tests}",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["translate", "classes"])
def test_smoothed_loss_equals_numpy(name):
    """The true class has probability 1 - smoothing, and all V classes share the rest evenly."""
    with eagerly():
        model = model_of(name)
        batch = batch_of(model.problems[name])
        scores = model.score(name, batch, NOISE)
        targets, logits = batch["targets"].numpy(), scores.logits.numpy().astype(float)
        expected = np.zeros(targets.shape)
        for at in np.ndindex(targets.shape):
            if name == "classes" or targets[at] != 0:  # no loss at padding
                wanted = np.full(logits.shape[-1], SMOOTHING / logits.shape[-1])
                wanted[targets[at]] += 1.0 - SMOOTHING
                expected[at] = -np.sum(wanted * np.log(reference.softmax(logits[at])))
        close(scores.loss, expected, 1e-5)


def main():
    devices = open_devices("mirrored", 2)
    all_reduce = devices.all_reduce

    def all_reduce_in_graph(values):
        tf.config.run_functions_eagerly(
            False
        )  # run eagerly, one replica's collective would wait for the other's forever
        try:
            return all_reduce(values)
        finally:
            tf.config.run_functions_eagerly(True)

    devices.all_reduce = all_reduce_in_graph
    with eagerly():
        check_step(devices, "translate", 1)


if __name__ == "__main__":
    main()
