"""The moving average of weights in training, evaluation and decoding, and t2t-avg-all."""

import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import SMALL, close, floats, normal, stored_tensors, write_as_version_0_1_0
from conftest import USR_SESSION

from t2t_lite.bin import avg_all, decoder, trainer
from t2t_lite.bin import eval as evaluator
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.runs.average_checkpoints import average_checkpoints
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.run import Run
from t2t_lite.training.loss_scale import LossScale
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.warm_start import warm_start

pytestmark = pytest.mark.usefixtures("session_problems")

SHAPES = [(3, 2), (4,)]
STEPS = 6


def made(decay=0.6):
    weights = [keras.Variable(normal(*shape, seed=i), dtype="float32") for i, shape in enumerate(SHAPES)]
    return weights, make_optimizer(SMALL.replace(average_decay=decay), weights)


def history_of(weights, optimizer, steps):
    """The values of each weight before and after each step; every other step leaves the second weight out."""
    history = [[weight.numpy() for weight in weights]]
    for step in range(steps):
        gradients = [floats(normal(*shape, seed=10 * step + i)) for i, shape in enumerate(SHAPES)]
        optimizer.apply([gradients[0], None if step % 2 else gradients[1]], 0.3)
        history.append([weight.numpy() for weight in weights])
    return history


@pytest.mark.parametrize("decay", [0.2, 0.6, 0.999])
def test_every_shadow_moves_at_every_step(decay):
    weights, optimizer = made(decay)
    history = history_of(weights, optimizer, 20)
    for i, shadow in enumerate(optimizer.average.shadows):
        close(shadow, reference.moving_average([values[i] for values in history], decay), 1e-5)


def test_averaged_swaps_the_averages_in_and_restores_the_weights():
    weights, optimizer = made()
    before = history_of(weights, optimizer, 3)[-1]
    with pytest.raises(KeyboardInterrupt), optimizer.averaged():
        for weight, shadow, raw in zip(weights, optimizer.average.shadows, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), shadow.numpy())
            assert np.abs(weight.numpy() - raw).max() > 1e-3
        raise KeyboardInterrupt
    for weight, raw in zip(weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), raw)


def test_without_average_decay_there_is_no_average():
    weights, optimizer = made(decay=0.0)
    assert optimizer.average is None
    history = history_of(weights, optimizer, 3)
    with optimizer.averaged():
        np.testing.assert_array_equal(weights[0].numpy(), history[-1][0])
    # Nor do they change what is trained.
    for row, other in zip(history, history_of(*made(decay=0.9), 3), strict=True):
        for value, same in zip(row, other, strict=True):
            np.testing.assert_array_equal(value, same)


@pytest.fixture(scope="module")
def call(session_data):
    """Calls a command's main on a run's folder; returns its exit status."""

    def call(command, output_dir, *flags):
        data = [] if command is avg_all else [f"--data_dir={session_data}"]
        return command.main([f"--t2t_usr_dir={USR_SESSION}", f"--output_dir={output_dir}", *data, *flags])

    return call


@pytest.fixture(scope="module")
def train(call):
    """Trains on two problems with Adafactor to some step."""

    def train(folder, steps, every=2):
        flags = ["--problem=session_reverse,session_pictures", "--hparams_set=session_tiny", f"--train_steps={steps}"]
        hparams = "--hparams=optimizer=adafactor,weight_decay=0.1,learning_rate=0.05,average_decay=0.9"
        assert call(trainer, folder, *flags, hparams, f"--eval_every={every}", "--eval_steps=1") == 0
        return folder

    return train


@pytest.fixture(scope="module")
def run_dir(train, tmp_path_factory):
    """A run with a moving average, evaluated every second step."""
    return train(tmp_path_factory.mktemp("averages") / "run", STEPS)


def weights_of(folder, step=None):
    """The weights that evaluation uses."""
    model = Run.open(folder).build_model()
    Checkpoints(folder, model).restore_weights(step)
    return model.get_weights()


def dev_scalars(folder, step=STEPS):
    """{tag: value} of the evaluations in training, written at a step."""
    found = {}
    for path in folder.glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            if event.step == step:
                scalars = [v for v in event.summary.value if v.WhichOneof("value") == "simple_value"]
                found |= {v.tag: v.simple_value for v in scalars if "dev/" in v.tag}
    return found


@pytest.mark.slow
def test_a_resumed_run_ends_bit_for_bit_as_one_never_stopped(run_dir, train, tmp_path):
    """Weights, averages and moments are equal although the runs were evaluated, with averages, at other steps."""
    folder = train(tmp_path / "run", 3, every=3)
    resumed, straight = stored_tensors(train(folder, STEPS, every=3), STEPS), stored_tensors(run_dir, STEPS)
    assert resumed.keys() == straight.keys()
    assert sum("average/shadows" in name for name in straight) > 50
    assert any("optimizer/second" in name for name in straight)
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value, name)


def test_evaluation_and_decoding_use_the_averages(run_dir, call, tmp_path, monkeypatch):
    raw = Run.open(run_dir).build_model()
    optimizer = make_optimizer(Run.open(run_dir).hparams, raw.trainable_variables)
    Checkpoints(run_dir, raw, optimizer).restore()
    taken = weights_of(run_dir)
    for value, shadow in zip(taken, optimizer.average.shadows, strict=True):
        np.testing.assert_array_equal(value, shadow.numpy())
    assert any(np.any(value != weight.numpy()) for value, weight in zip(taken, raw.weights, strict=True))

    # t2t-eval gives the loss that training logged with the averages, and another one without them.
    json_out = tmp_path / "scores.json"
    flags = ["--problem=session_pictures", "--eval_steps=1", f"--json_out={json_out}"]
    assert call(evaluator, run_dir, *flags) == 0
    loss = json.loads(json_out.read_text())["problems"]["session_pictures"]["loss"]
    assert loss == pytest.approx(dev_scalars(run_dir)["dev/session_pictures/loss"], rel=1e-5)
    decode = ["--problem=session_pictures", "--show=1", "--decode_hparams=max_length=3"]
    seen = []

    def kept(model):
        seen.append([weight.numpy() for weight in model.weights])
        return GreedyDecoder(model)

    monkeypatch.setattr("t2t_lite.decoding.decode.GreedyDecoder", kept)
    assert call(decoder, run_dir, *decode) == 0
    for value, used in zip(taken, seen[0], strict=True):
        np.testing.assert_array_equal(value, used)
    monkeypatch.setattr("t2t_lite.runs.checkpoints.load_moving_average", lambda *_: False)
    assert call(evaluator, run_dir, *flags) == 0
    assert json.loads(json_out.read_text())["problems"]["session_pictures"]["loss"] != pytest.approx(loss, rel=1e-5)


def test_a_checkpoint_of_version_0_1_0_is_restored_averaged_and_started_from(run_dir, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(run_dir, old, ignore=shutil.ignore_patterns("averaged"))
    run = Run.open(old)

    def training():
        model = run.build_model()
        optimizer = make_optimizer(run.hparams, model.trainable_variables)
        optimizer.guard = LossScale(run.hparams)
        return model, optimizer

    model, optimizer = training()
    assert Checkpoints(old, model, optimizer).restore().step == STEPS
    write_as_version_0_1_0(old, STEPS, model, optimizer)
    assert len(list((old / "checkpoints").glob(f"ckpt-{STEPS}.*"))) == 3

    resumed = training()
    assert Checkpoints(old, *resumed).restore().step == STEPS
    expected = [*model.weights, *optimizer.variables]
    for mine, theirs in zip([*resumed[0].weights, *resumed[1].variables], expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for folder in (old, run_dir):
        average_checkpoints(folder, tmp_path / f"{folder.name}-mean", 2)  # of an old one and a new one
    for mine, theirs in zip(*(weights_of(tmp_path / f"{f.name}-mean") for f in (old, run_dir)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    warm_start(model, run, old)
    for mine, theirs in zip(model.get_weights(), weights_of(run_dir), strict=True):
        np.testing.assert_array_equal(mine, theirs)


class TestAvgAll:
    @pytest.mark.slow
    def test_averages_the_last_checkpoints_into_a_run_for_evaluation(self, run_dir, call, tmp_path, capsys):
        folder = tmp_path / "mean"
        assert call(avg_all, run_dir, "--n=2", f"--averaged_dir={folder}") == 0
        assert "averaged the checkpoints of the steps 4, 6 into" in capsys.readouterr().out
        expected = [
            (a.astype(np.float64) + b) / 2 for a, b in zip(*(weights_of(run_dir, s) for s in (4, 6)), strict=True)
        ]
        for found, value in zip(weights_of(folder), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-7)
        flags = ["--problem=session_pictures", "--eval_steps=1", f"--json_out={tmp_path}/scores.json"]
        assert call(evaluator, folder, *flags) == 0
        assert json.loads((tmp_path / "scores.json").read_text())["step"] == 6
        for name in ("vocab.session.model", "data.json"):  # the model card of an export reads data.json
            assert (folder / name).read_bytes() == (run_dir / name).read_bytes()
        assert call(decoder, folder, "--problem=session_pictures", "--show=1") == 0
        train = ["--problem=session_pictures", "--hparams_set=session_tiny", "--train_steps=9"]
        assert call(trainer, folder, *train) == 1
        assert "a run of averaged weights, without an optimizer; to train on from it, give another folder and " in (
            capsys.readouterr().err
        )

    def test_averages_all_checkpoints_by_default_and_replaces_its_earlier_output(self, run_dir, call, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(run_dir, folder)
        assert call(avg_all, folder, "--n=1") == 0
        first = weights_of(folder / "averaged")
        for one, last in zip(first, weights_of(folder), strict=True):
            np.testing.assert_array_equal(one, last)
        assert call(avg_all, folder) == 0
        assert json.loads((folder / "averaged" / "averaged.json").read_text())["steps"] == [2, 4, 6]
        assert any(np.any(a != b) for a, b in zip(first, weights_of(folder / "averaged"), strict=True))
        assert sorted(path.name for path in folder.iterdir() if "averaged" in path.name) == ["averaged"]
        assert finished_steps(folder) == {2, 4, 6}

    def test_keeps_a_link_and_keeps_its_earlier_output_if_renaming_fails(
        self, run_dir, call, tmp_path, monkeypatch, capsys
    ):
        (tmp_path / "link").symlink_to(tmp_path / "mean")
        for n in (1, 2):
            assert call(avg_all, run_dir, f"--n={n}", f"--averaged_dir={tmp_path / 'link'}") == 0
            assert len(json.loads((tmp_path / "mean" / "averaged.json").read_text())["steps"]) == n
        assert (tmp_path / "link").is_symlink()

        def busy(*_):
            raise OSError(16, "Device or resource busy")

        for owner, name in ((os, "replace"), (Path, "rename")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, busy)
                assert call(avg_all, run_dir, "--n=3", f"--averaged_dir={tmp_path / 'link'}") == 1
            assert json.loads((tmp_path / "mean" / "averaged.json").read_text())["steps"] == [4, 6]
            assert sorted(os.listdir(tmp_path)) == ["link", "mean"]
        monkeypatch.chdir(tmp_path / "mean")
        assert call(avg_all, run_dir, "--averaged_dir=.") == 1
        assert "holds the folder you are in" in capsys.readouterr().err

    def test_wrong_flags_and_folders_are_errors(self, run_dir, call, tmp_path, capsys):
        def fails(status, message, output_dir, *flags):
            assert call(avg_all, output_dir, *flags) == status
            error = capsys.readouterr().err
            assert re.fullmatch(r"t2t-avg-all: error: .*\n", error)
            assert message in error

        fails(1, "--n=4: ", run_dir, "--n=4")
        fails(1, "holds 3, of the steps 2, 4, 6; give --n=3 or less", run_dir, "--n=4")
        fails(2, "--n=0: expected a whole number, at least 1", run_dir, "--n=0")
        fails(1, "no folder", tmp_path / "none", "--n=1")
        fails(1, "no run in", tmp_path, "--n=1")
        fails(1, "was not made by t2t-avg-all", run_dir, "--n=1", f"--averaged_dir={run_dir}")
        fails(1, "was not made by t2t-avg-all", run_dir, "--n=1", f"--averaged_dir={tmp_path}")
        shutil.copytree(run_dir, tmp_path / "empty", ignore=shutil.ignore_patterns("checkpoints"))
        fails(1, "no checkpoint in", tmp_path / "empty", "--n=1")


def test_loss_weights_of_a_problem_not_trained_are_an_error_before_training(call, tmp_path, capsys):
    flags = ["--problem=session", "--hparams_set=session_tiny", "--train_steps=1"]
    assert call(trainer, tmp_path / "run", *flags, "--hparams=loss_weights=session_tons:2") == 1
    assert "'session_tons' is not trained here; did you mean 'session_tones'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
