"""Warm start: a new run begins with the weights of an old one."""

import json
import re
import shutil

import numpy as np
import pytest

from t2t_lite.bin import trainer
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run
from t2t_lite.training.warm_start import warm_start


@pytest.fixture(autouse=True, scope="module")
def problems(session_problems):
    return session_problems


def make_run(folder, data_dir, hparams, *names):
    """A run that has no checkpoint yet, and its model with fresh weights."""
    datasets = {name: Dataset.open(data_dir, name) for name in names}
    run = Run.create(folder, hparams, "multi_model", datasets, dict.fromkeys(names, 1 / len(names)))
    return run, run.build_model()


@pytest.fixture(scope="module")
def old(session_data, session_problems, tmp_path_factory):
    """A run on tones and pictures with checkpoints of steps 2 and 5: its folder, and the model of step 5."""
    folder = tmp_path_factory.mktemp("old") / "run"
    hparams = session_problems.session_tiny().replace(seed=5)
    _, model = make_run(folder, session_data, hparams, "session_tones", "session_pictures")
    checkpoints = Checkpoints(folder, model)
    for step in (2, 5):
        for weight in model.weights:
            weight.assign(weight + step)
        checkpoints.save(step)
    return folder, model


@pytest.fixture
def new(session_data, session_problems, tmp_path):
    """A run on letters and tones."""

    def new(**hparams):
        hparams = session_problems.session_tiny().replace(**hparams)
        return make_run(tmp_path / "new", session_data, hparams, "session_reverse", "session_tones")

    return new


def values(model):
    """{name: value}, without the model's own name."""
    return {weight.path.removeprefix(f"{model.name}/"): weight.numpy() for weight in model.weights}


def rows(table):
    """{outcome: (number of weights, their parts)}"""
    found = (re.fullmatch(r"  (\w+(?: \w+)*) +(\d+)  (.*)", line) for line in table.splitlines()[1:])
    return {match[1]: (int(match[2]), match[3]) for match in found}


def test_copies_the_weights_that_fit_and_lists_the_others(old, new):
    folder, model = old
    run, net = new()
    before, trained = values(net), values(model)
    table = warm_start(net, run, folder)
    after = values(net)
    for name, value in after.items():
        if name == "commands":
            continue
        expected = trained[name] if name in trained else before[name]
        np.testing.assert_array_equal(value, expected, err_msg=name)
    assert table.splitlines()[0] == f"weights of {folder}, step 5:"
    outcomes = rows(table)
    shared = [name for name in after if name in trained and name != "commands"]
    assert outcomes["copied"][0] == len(shared) + 1
    for part in ("body.encoder", "body.mixer", "body.decoder", "language_session (2)", "audio_8000", "command tones"):
        assert part in outcomes["copied"][1]
    assert outcomes["only in the new model"] == (1, "command reverse")
    left = [name for name in trained if name not in after]
    assert outcomes["only in the old model"][0] == len(left) > 0
    assert re.fullmatch(r"image \(\d+\), categorical_\w+ \(\d+\)", outcomes["only in the old model"][1])
    assert "other shape" not in outcomes and "other vocabulary" not in outcomes


def test_commands_are_matched_by_name(old, new):
    folder, model = old
    run, net = new()
    assert (model.command_names, net.command_names) == (["tones"], ["reverse", "tones"])
    fresh = net.commands.numpy()
    warm_start(net, run, folder)
    np.testing.assert_array_equal(net.commands.numpy(), [fresh[0], model.commands.numpy()[0]])


def test_weights_of_other_shapes_are_not_copied(old, new):
    folder, model = old
    run, net = new(filter_size=48, audio_width=3)
    before, trained = values(net), values(model)
    outcomes = rows(warm_start(net, run, folder))
    for name, value in values(net).items():
        if name != "commands":
            fits = name in trained and trained[name].shape == value.shape
            np.testing.assert_array_equal(value, trained[name] if fits else before[name], err_msg=name)
    assert "body.encoder (2), body.decoder (2), audio_8000" in outcomes["other shape"][1]
    assert outcomes["copied"][0] > 50


def test_nets_of_another_vocabulary_of_the_same_name_are_not_copied(old, new, tmp_path):
    folder, model = old
    shutil.copytree(folder, tmp_path / "other")
    stored = json.loads((folder / "run.json").read_text())
    stored["vocabularies"]["session"]["checksum"] = "0" * 64
    (tmp_path / "other" / "run.json").write_text(json.dumps(stored))
    run, net = new()
    before, trained = values(net), values(model)
    outcomes = rows(warm_start(net, run, tmp_path / "other"))
    assert outcomes["other vocabulary"] == (2, "language_session (2)")
    for name, value in values(net).items():
        if name != "commands":
            np.testing.assert_array_equal(value, before[name] if "language" in name else trained[name], err_msg=name)


@pytest.mark.parametrize("end", ["", ".index", ".json"])
def test_a_given_checkpoint_is_used(old, new, end):
    folder, model = old
    run, net = new()
    table = warm_start(net, run, folder / "checkpoints" / f"ckpt-2{end}")
    assert table.startswith(f"weights of {folder}, step 2:")
    expected = values(model)["body.decoder.norm/scale"] - 5
    np.testing.assert_allclose(values(net)["body.decoder.norm/scale"], expected, atol=1e-5)


def test_a_missing_run_or_checkpoint_is_an_error(old, new, tmp_path):
    folder, _ = old
    run, net = new()
    with pytest.raises(UserError, match=f"--warm_start_from: no run in '{tmp_path}/none'"):
        warm_start(net, run, tmp_path / "none")
    with pytest.raises(UserError, match=r"ckpt-4.*checkpoints there are of steps: 2, 5"):
        warm_start(net, run, folder / "checkpoints" / "ckpt-4")


@pytest.mark.slow
def test_only_a_new_run_is_warm_started(old, session_data, session_problems, tmp_path, capsys):
    folder, _ = old
    flags = ["--problem=session_pictures", "--hparams_set=session_tiny", f"--data_dir={session_data}"]
    flags += [
        f"--output_dir={tmp_path}/run",
        f"--warm_start_from={folder}",
        "--hparams=learning_rate=0",
        "--eval_steps=1",
    ]
    assert trainer.main([*flags, "--train_steps=1"]) == 0
    assert f"weights of {folder}, step 5:" in capsys.readouterr().err
    run = Run.open(tmp_path / "run")
    started, trained = run.build_model(), Run.open(folder).build_model()
    Checkpoints(tmp_path / "run", started).restore_weights()
    Checkpoints(folder, trained).restore_weights()
    expected = values(trained)
    for name, value in values(started).items():
        if name != "commands":
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
    # The second call resumes from the run's own checkpoint.
    assert trainer.main([*flags, "--train_steps=2"]) == 0
    message = capsys.readouterr().err
    assert "resuming from step 1" in message and "weights of" not in message
