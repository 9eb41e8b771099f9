"""A run killed, interrupted or damaged at any moment resumes and ends equal to a run never stopped."""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
import types

import conftest
import numpy as np
import pytest
from checks import stored_tensors

from t2t_lite.bin import decoder, trainer
from t2t_lite.bin import eval as evaluator
from t2t_lite.runs import checkpoints
from t2t_lite.runs.checkpoints import finished_steps

USR_DIR = conftest.USR_SESSION


def contents(run_dir, step):
    """The tensors {name: value} and the host's state of a checkpoint."""
    described = json.loads((run_dir / "checkpoints" / f"ckpt-{step}.json").read_text())
    return stored_tensors(run_dir, step), (described["state"], described["best"])


def assert_same(expected_dir, found_dir, step):
    expected, expected_state = contents(expected_dir, step)
    found, found_state = contents(found_dir, step)
    assert expected.keys() == found.keys() and len(found) > 100
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert found_state == expected_state


def contents_of(run_dir):
    """The names of the files of all checkpoints."""
    folder = run_dir / "checkpoints"
    return sorted(os.listdir(folder)) if folder.exists() else []


def unfinished(run_dir):
    """Whether there is an incomplete checkpoint, being written or left by a kill."""
    names = contents_of(run_dir)
    described = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    return any(name.partition(".")[0].removesuffix("_temp") not in described for name in names)


def _train(flags):
    with contextlib.redirect_stderr(open(os.devnull, "w")):
        sys.exit(trainer.main(flags))


class Killer:
    """Starts and kills a training repeatedly; each start forks a process that has imported TensorFlow."""

    def __init__(self, run_dir, flags):
        self.run_dir, self.flags, self.random = run_dir, [*flags, f"--output_dir={run_dir}"], random.Random(1)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["t2t_lite.training.train", "t2t_lite.bin.trainer"])

    def start(self):
        process = self.context.Process(target=_train, args=(self.flags,), daemon=True)
        process.start()
        return process

    def kill(self, while_writing):
        """Kills a training after a random number of new checkpoints; returns whether this hit the writing of one."""
        process = self.start()
        before, wanted = max(finished_steps(self.run_dir), default=0), self.random.randrange(3)
        deadline = time.monotonic() + 600  # a shared machine can be slow
        while len([s for s in finished_steps(self.run_dir) if s > before]) < wanted and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if while_writing:
            left = contents_of(self.run_dir)  # by the kill before
            while process.is_alive() and not self.stopped_while_writing(process, left):
                assert time.monotonic() < deadline
                time.sleep(0.001)
        else:
            time.sleep(self.random.random() * (0.2 if wanted else 5))
        process.kill()
        process.join()
        return while_writing and unfinished(self.run_dir)  # what is left of an earlier kill does not count

    def stopped_while_writing(self, process, left):
        """Stops the process at a random moment of writing a checkpoint; returns whether it succeeded."""
        if contents_of(self.run_dir) == left or not unfinished(self.run_dir):
            return False
        time.sleep(self.random.random() * 0.005)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.02)
        if unfinished(self.run_dir):
            return True
        os.kill(process.pid, signal.SIGCONT)
        return False

    def finish(self):
        process = self.start()
        process.join()
        assert process.exitcode == 0


def settings(data_dir, problem, *flags):
    return [
        *(f"--t2t_usr_dir={USR_DIR}", f"--data_dir={data_dir}", f"--problem={problem}", "--hparams_set=session_tiny"),
        *("--hparams=dropout=0.1,seed=4", "--eval_steps=1", *flags),
    ]


@pytest.fixture(scope="module")
def flags(session_data):
    return settings(session_data, "session_pictures", "--train_steps=24", "--save_every=2", "--eval_every=6")


@pytest.fixture(scope="module")
def unbroken(flags, tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    Killer(folder, flags).finish()
    return folder


def test_three_kills_change_nothing(unbroken, flags, tmp_path):
    killer = Killer(tmp_path / "killed", flags)
    assert sum(killer.kill(while_writing) for while_writing in (True, False, True)) == 2
    killer.finish()
    assert_same(unbroken, tmp_path / "killed", 24)


@pytest.mark.slow
def test_twenty_four_kills_change_nothing(session_data, tmp_path):
    """On all kinds of data, with early stopping."""
    stop = ["--early_stop_metric=session_reverse:accuracy", "--early_stop_patience=50"]
    steps = ["--train_steps=120", "--save_every=2", "--eval_every=10", *stop]
    flags = settings(session_data, "session", *steps)
    Killer(tmp_path / "unbroken", flags).finish()
    killer = Killer(tmp_path / "killed", flags)
    assert sum(killer.kill(while_writing=number % 2 == 0) for number in range(24)) >= 10
    killer.finish()
    assert_same(tmp_path / "unbroken", tmp_path / "killed", 120)


@pytest.mark.slow
def test_a_signal_saves_and_names_the_command_to_resume(unbroken, flags, tmp_path):
    command = [
        sys.executable,
        "-m",
        "t2t_lite.bin.trainer",
        *flags,
        f"--output_dir={tmp_path}/a run",
        "--save_every=3",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not finished_steps(tmp_path / "a run"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert process.returncode == 143, stderr
    stopped, typed = stderr.splitlines()[-2:]
    step = max(finished_steps(tmp_path / "a run"))
    assert f"; step {step} is saved. To continue:" in stopped
    assert "Traceback" not in stderr
    assert shlex.split(typed) == command
    done = subprocess.run(shlex.split(typed), stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0
    assert f"resuming from step {step}" in done.stderr
    assert_same(unbroken, tmp_path / "a run", 24)


@pytest.mark.slow
def test_a_signal_interrupts_an_evaluation(flags, session_problems, tmp_path, monkeypatch, capsys):
    went_on = []

    def evaluate(*_, before_batch, **__):
        signal.raise_signal(signal.SIGTERM)
        before_batch()
        went_on.append(True)

    monkeypatch.setattr("t2t_lite.training.train.evaluate_share", evaluate)
    assert trainer.main([*flags, f"--output_dir={tmp_path}", "--train_steps=4", "--eval_every=2"]) == 143
    assert not went_on
    assert "stopped by SIGTERM; step 2 is saved" in capsys.readouterr().err


class TestEarlyStopping:
    FLAGS = ("--early_stop_metric=session_pictures:loss", "--early_stop_patience=2", "--hparams=learning_rate=0")

    @pytest.mark.slow
    def test_is_reported_and_remembered(self, flags, session_problems, tmp_path, capsys):
        flags = [*flags, f"--output_dir={tmp_path}", *self.FLAGS, "--eval_every=1", "--save_every=50"]
        message = "stopped early at step 3: session_pictures:loss has not improved for 2 evaluations"
        assert trainer.main(flags) == 0
        assert message in capsys.readouterr().err
        # The best one, of step 1, is kept beside the last.
        assert finished_steps(tmp_path) == {1, 3}
        shared = [flag for flag in flags if flag.startswith(("--data_dir", "--problem"))]
        assert evaluator.main([*shared, f"--output_dir={tmp_path}", "--checkpoint=best", "--eval_steps=1"]) == 0
        assert "step 1\n" in capsys.readouterr().out
        assert trainer.main(flags) == 0
        assert message in capsys.readouterr().err
        assert finished_steps(tmp_path) == {1, 3}


class TestDamage:
    @pytest.fixture
    def damaged(self, unbroken, tmp_path):
        """A run whose last checkpoint is truncated."""
        shutil.copytree(unbroken, tmp_path / "run")
        path = tmp_path / "run" / "checkpoints" / "ckpt-24.data-00000-of-00001"
        path.write_bytes(path.read_bytes()[:-1])
        return tmp_path / "run"

    def test_every_command_uses_the_checkpoint_before_and_says_so(
        self, unbroken, damaged, flags, session_data, session_problems, capsys
    ):
        shared = [f"--data_dir={session_data}", f"--output_dir={damaged}", "--problem=session_pictures"]
        message = "ckpt-24 is damaged (ckpt-24.data-00000-of-00001); ckpt-22 is used"
        assert evaluator.main([*shared, "--eval_steps=1"]) == 0
        output = capsys.readouterr()
        assert message in output.err and "step 22" in output.out
        assert decoder.main([*shared, "--show=1"]) == 0
        assert message in capsys.readouterr().err
        assert trainer.main([*flags, f"--output_dir={damaged}"]) == 0
        output = capsys.readouterr().err
        assert message in output and "resuming from step 22" in output
        assert_same(unbroken, damaged, 24)


def test_save_minutes_and_a_full_disk(unbroken, flags, session_problems, tmp_path, capsys, monkeypatch):
    """Saves by minutes beside --save_every, until a write in the background fails and ends training."""
    shutil.copytree(unbroken, tmp_path / "run")
    before = finished_steps(tmp_path / "run")
    seconds = itertools.count(0, 25)  # the clock is asked at the start, at each step and at each save
    monkeypatch.setattr(checkpoints, "time", types.SimpleNamespace(monotonic=lambda: next(seconds)))
    write = checkpoints.write_tensors

    def write_up_to_29(prefix, *arguments):
        if int(prefix.name.split(".")[0].removeprefix("ckpt-")) > 29:
            raise OSError(28, os.strerror(28))
        write(prefix, *arguments)

    monkeypatch.setattr(checkpoints, "write_tensors", write_up_to_29)
    often = ["--train_steps=400", "--save_minutes=1", "--save_every=29", "--eval_every=1000", "--keep_checkpoints=9"]
    assert trainer.main([*flags, f"--output_dir={tmp_path}/run", *often]) == 1
    *_, line = capsys.readouterr().err.splitlines()
    # Step 27 by --save_minutes, 75 s after the start; 29 by --save_every; 32 after 75 s more.
    message = "cannot write the checkpoint of step 32: No space left on device; the last good checkpoint is of step 29"
    assert line == f"t2t-trainer: error: {tmp_path}/run: {message}"
    assert finished_steps(tmp_path / "run") == before | {27, 29}
    assert not unfinished(tmp_path / "run")


@pytest.mark.slow
def test_a_run_resumes_with_other_flags(unbroken, flags, session_problems, tmp_path, capsys):
    """More steps, other intervals, fewer checkpoints, other metrics, hparams that may change."""
    shutil.copytree(unbroken, tmp_path / "run")
    others = ["--train_steps=25", "--eval_every=5", "--save_every=7", "--keep_checkpoints=1", "--keep_best=accuracy"]
    stop = ["--early_stop_metric=loss", "--early_stop_patience=1", "--profile_steps=2,3"]
    memory = ["--hparams=dropout=0.1,seed=4,accumulate_steps=2,max_bad_steps=3"]
    assert trainer.main([*flags, f"--output_dir={tmp_path}/run", *others, *stop, *memory]) == 0
    assert "resuming from step 24" in capsys.readouterr().err
    assert finished_steps(tmp_path / "run") == {25}
