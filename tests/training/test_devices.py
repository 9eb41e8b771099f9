"""Replicas, micro-batches, precision, skipped steps and memory of a training step, and the choice of devices."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, batch_of, close, eagerly, five_problems

from t2t_lite.data.batch_shards import shard_batch
from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.errors import UserError
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.training.devices import Cluster, Devices, open_devices
from t2t_lite.training.loss_scale import LossScale
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep
from t2t_lite.training.train import _check_skipped


def trained(folder, steps, *cases):
    """{case: (weights, figures of each step)} of tests/replicas.py."""
    here = Path(__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": f"{here.parent}:{here}",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, str(here / "replicas.py"), str(folder), str(steps), *cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {}
    for case in cases:
        stored = np.load(folder / f"{case}.npz")
        figures = json.loads((folder / f"{case}.json").read_text())
        found[case] = [stored[key] for key in stored.files], figures
    return found


def check_alike(found, first):
    expected, figures = found[first]
    assert all(
        {"loss", "log_perplexity", "accuracy", "balance", "gradient_norm", "tokens"} < set(row) for row in figures
    )
    for weights, others in found.values():
        for a, b in zip(weights, expected, strict=True):
            # The absolute term is for float32 rounding: Adam makes large steps from gradients that are nearly zero.
            assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b) + 2e-6 * b.size**0.5
        for mine, theirs in zip(others, figures, strict=True):
            assert set(mine) == set(theirs)
            for key, value in mine.items():
                assert value == pytest.approx(theirs[key], rel=1e-4)


@pytest.mark.slow
def test_replicas_and_micro_batches_train_as_one(tmp_path):
    found = trained(tmp_path, 10, "1", "1:accumulate_steps=3", "2:accumulate_steps=2")
    assert len(found["1"][0]) > 50  # weights
    check_alike(found, "1")


@pytest.mark.slow
def test_two_and_four_replicas_train_as_one(tmp_path):
    # In two processes: TensorFlow's collective operations allow only one number of replicas per process.
    check_alike(trained(tmp_path, 20, "1", "2") | trained(tmp_path, 20, "4"), "1")


@pytest.mark.slow
def test_a_model_without_experts_trains_alike(tmp_path):
    cases = ["1:use_experts=false", "2:use_experts=false,accumulate_steps=2"]
    check_alike(trained(tmp_path, 5, *cases), cases[0])


# One device


def problem_step(name="translate", copies=1, **changes):
    """A step on one problem that collects its log, with the first copy of model and optimizer."""
    problems = {name: five_problems()[name]}
    hparams = SMALL.replace(encoder_blocks=1, decoder_blocks=1, **changes)
    made = [MultiModel(hparams, problems, {"words": 30}) for _ in range(copies)]
    pairs = [(model, make_optimizer(hparams, model.trainable_variables)) for model in made]
    step = TrainStep(Devices(), pairs)
    step.logged = []
    step.log = step.logged.append
    return step, *pairs[0]


def state(model, optimizer):
    return [v.numpy() for v in [*model.trainable_variables, *optimizer.first, *optimizer.second]]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def poisoned(batch):
    """A batch of pictures with one NaN."""
    pixels = batch["inputs"].numpy()
    pixels[1, 2, 3, 0] = np.nan
    return batch | {"inputs": tf.constant(pixels), "index": tf.constant([40, 41, 42], tf.int64)}


def test_a_skipped_step_changes_only_counts_and_max_bad_steps_in_a_row_stop_the_run():
    with eagerly():
        step, model, optimizer = problem_step("classes", max_bad_steps=2)
        good = batch_of(model.problems["classes"])
        assert step("classes", good, 0)["skipped"] == 0
        before = state(model, optimizer)
        figures = step("classes", poisoned(good), 1)
        assert figures == {"tokens": 3.0, "skipped": 1.0}
        assert same(state(model, optimizer), before) and int(optimizer.step) == 2
        (line,) = step.logged
        assert "problem 'classes', step 2" in line and "loss is not finite" in line
        assert step("classes", good, 2)["skipped"] == 0  # starts the count of steps in a row anew
        before = state(model, optimizer)
        step("classes", poisoned(good), 3)
        with pytest.raises(UserError) as raised:
            step("classes", poisoned(good), 4)
        message = str(raised.value)
        for phrase in ("problem 'classes'", "step 5", "max_bad_steps", "inputs (3, 9, 8, 3)", "40, 41, 42"):
            assert phrase in message
        assert same(state(model, optimizer), before)
        assert step.unscalable_skips == 3


def test_the_loss_scale_of_float16_halves_at_an_overflow_and_doubles_after_many_applied_steps(monkeypatch):
    monkeypatch.setattr("t2t_lite.training.loss_scale._DOUBLE_AFTER", 3)
    loss_scale = LossScale(SMALL.replace(precision="float16"))
    first = float(loss_scale.scale)
    loss_scale.record_skipped(loss_is_finite=True)
    assert float(loss_scale.scale) == first / 2 and int(loss_scale.in_row) == 0 and int(loss_scale.skipped) == 1
    loss_scale.record_skipped(loss_is_finite=False)
    assert float(loss_scale.scale) == first / 2 and int(loss_scale.in_row) == 1
    assert int(loss_scale.skipped) == 2 and loss_scale.unscalable == 1
    for _ in range(3):
        loss_scale.record_applied()
    assert float(loss_scale.scale) == first and int(loss_scale.in_row) == 0
    plain = LossScale(SMALL)
    plain.record_skipped(loss_is_finite=True)
    plain.record_applied()
    assert float(plain.scale) == 1.0 and plain.unscalable == 1


@pytest.mark.parametrize(
    "skipped,steps,fails", [(3, 3, True), (3, 5, True), (3, 6, False), (2, 2, False), (0, 0, False), (90, 100, True)]
)
def test_a_process_fails_if_it_skipped_most_of_its_steps(skipped, steps, fails):
    if not fails:
        return _check_skipped(skipped, steps, 700)
    message = f"{skipped} of the {steps} steps of this process were skipped.*; step 700 is saved.*lower learning_rate"
    with pytest.raises(UserError, match=message):
        _check_skipped(skipped, steps, 700)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_16_bit_precision_takes_nearly_the_same_step(precision):
    with eagerly():
        results = []
        for name in ("float32", precision):
            random.seed(0)
            step, model, _ = problem_step(precision=name, dropout=0.0)
            batch = batch_of(model.problems["translate"])
            results.append(step("translate", batch, 0))
            assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert model.body.compute_dtype == precision
        wide, narrow = results
        assert narrow["skipped"] == 0
        assert narrow["loss"] == pytest.approx(wide["loss"], rel=0.02)
        assert narrow["gradient_norm"] == pytest.approx(wide["gradient_norm"], rel=0.1)


def test_the_checkpoint_keeps_the_loss_scale(tmp_path):
    with eagerly():
        _, model, optimizer = problem_step("classes", precision="float16")
        optimizer.guard.scale.assign(64.0)
        Checkpoints(tmp_path, model, optimizer).save(0)
        _, other, resumed = problem_step("classes", precision="float16")
        Checkpoints(tmp_path, other, resumed).restore()
        assert float(resumed.guard.scale) == 64.0


def session_step(session_data, **changes):
    dataset = Dataset.open(session_data, "session_pictures")
    hparams = SMALL.replace(encoder_blocks=1, decoder_blocks=1, **changes)
    model = MultiModel(hparams, {"session_pictures": dataset.problem}, {})
    return dataset, TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))]), model


def test_the_largest_batch_is_tried_without_changing_weights_and_moments(session_data, session_problems):
    with eagerly():
        dataset, step, model = session_step(session_data, batch_max_examples=5)
        optimizer, score, seen = step._optimizers[0], model.score, []
        model.score = lambda name, batch, noise: seen.append(batch["inputs"].shape) or score(name, batch, noise)
        before = state(model, optimizer)
        step.try_largest_batch(dataset)
        assert seen == [(5, 8, 8, 3)]
        assert same(state(model, optimizer), before) and int(optimizer.step) == 0


def test_a_batch_too_large_for_memory_is_an_error_that_names_hparams(session_data, session_problems, monkeypatch):
    with eagerly():
        dataset, step, model = session_step(session_data)

        def score(*_):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

        model.score = score
        message = r"memory .* problem 'session_pictures' with inputs \(256, 8, 8, 3\) and targets .* batch_tokens=4096"
        with pytest.raises(UserError, match=message):
            step.try_largest_batch(dataset)
        monkeypatch.setattr("t2t_lite.training.step.blank_batch", score)
        with pytest.raises(UserError, match=r"memory .* largest batch of problem 'session_pictures'; lower batch_tok"):
            step.try_largest_batch(dataset)


def test_shards_have_every_example_once_and_are_filled_up_with_blanks():
    batch = batch_of(five_problems()["speech"], rows=5)
    slices = [shard_batch(batch, i, 4) for i in range(4)]
    assert [s["weights"].numpy().tolist() for s in slices] == [[1, 1], [1, 1], [1, 0], [0, 0]]
    for key, value in batch.items():
        joined = tf.concat([s[key] for s in slices], axis=0).numpy()
        assert np.array_equal(joined[:5], value) and not joined[5:].any()
    assert shard_batch(batch, 0, 1).keys() == batch.keys()


def test_blank_examples_count_for_nothing():
    with eagerly():
        problems = five_problems()
        for name in ("speech", "classes", "translate"):  # every kind of input, texts and classes as targets
            declared = problems[name]
            model = MultiModel(SMALL.replace(encoder_blocks=1, decoder_blocks=1), {name: declared}, {"words": 30})
            batch = batch_of(declared)
            padded = shard_batch({k: tf.concat([v, v], axis=0) for k, v in batch.items()}, 0, 2)
            blank = {k: tf.concat([v, tf.zeros_like(v)], axis=0) for k, v in padded.items()}
            scores, filled = model.score(name, batch), model.score(name, blank)
            close(tf.reduce_sum(filled.loss), tf.reduce_sum(scores.loss), 1e-4)
            close(filled.expert_sums, scores.expert_sums, 1e-4)
            assert float(tf.reduce_sum(filled.weights)) == float(tf.reduce_sum(scores.weights))


def test_every_shard_draws_its_own_noise_and_the_first_draws_that_of_an_unsplit_batch():
    with eagerly():
        step, model, _ = problem_step("classes", accumulate_steps=3)
        seen = []

        def record(method):
            def recorded(name, batch, noise):
                seen.append((method.__name__, *noise.numpy().tolist()))
                return method(name, batch, noise)

            return recorded

        model.score, model.expert_sums = record(model.score), record(model.expert_sums)
        step("classes", batch_of(model.problems["classes"]), 7)
        first, second, last = (noise for _, *noise in seen[:3])
        assert first == [SMALL.seed, 7] and first != second != last != first
        # The last forward pass is kept for its backward pass.
        assert [name for name, *_ in seen] == ["expert_sums", "expert_sums", "score", "score", "score"]
        assert [noise for _, *noise in seen[3:]] == [second, first]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_16_bit_model_decodes(precision):
    with eagerly():
        _, model, _ = problem_step(precision=precision)
        decoded = GreedyDecoder(model)("translate", batch_of(model.problems["translate"]), 4)
        assert decoded.ids.shape[0] == 3 and decoded.ids.shape[1] <= 4 and np.isfinite(decoded.scores).all()


# The choice of devices


@pytest.mark.parametrize(
    "config,message",
    [
        (None, "no TF_CONFIG"),
        ("{worker", "not JSON"),
        ('{"task": {"type": "worker", "index": 0}}', "expected a cluster and a task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "no task 1 of type worker"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "must be of type worker"),
        ("[]", "expected a cluster and a task"),
    ],
)
def test_a_wrong_tf_config_is_an_error(monkeypatch, config, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UserError, match=message):
        open_devices("multi_worker")


def test_a_chief_comes_before_the_workers(monkeypatch):
    config = '{"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 1}}'
    monkeypatch.setenv("TF_CONFIG", config)
    assert Cluster.from_environment() == Cluster(("a:1", "b:1", "c:1"), 2)


def test_one_device_has_one_replica():
    assert open_devices("auto").replicas == 1
    with pytest.raises(UserError, match="--worker_gpu=3"):
        open_devices("one_device", 3)
