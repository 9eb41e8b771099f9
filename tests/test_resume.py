"""A run that is stopped, in whatever way and at whatever moment, goes on as if it had not been."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.bin import trainer
from t2t_lite.runs.checkpoints import finished_steps

USR_DIR = str(Path(__file__).parent / "usr_session")


def contents(run_dir, step):
    """What a checkpoint holds: {name: value}, and the host's state."""
    prefix = run_dir / "checkpoints" / f"ckpt-{step}"
    reader = tf.train.load_checkpoint(str(prefix))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    described = json.loads(prefix.with_suffix(".json").read_text())
    return {name: reader.get_tensor(name) for name in names}, (described["state"], described["best"])


def assert_same(expected_dir, found_dir, step):
    expected, expected_state = contents(expected_dir, step)
    found, found_state = contents(found_dir, step)
    assert expected.keys() == found.keys() and len(found) > 100
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert found_state == expected_state


def unfinished(run_dir):
    """Whether a checkpoint is being written."""
    folder = run_dir / "checkpoints"
    # A file may go while it is looked at; then its turn is over.
    names = os.listdir(folder) if folder.exists() else []
    described = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    return any(name.partition(".")[0].removesuffix("_temp") not in described for name in names)


def _train(flags):
    with contextlib.redirect_stderr(open(os.devnull, "w")):
        sys.exit(trainer.main(flags))


class Killer:
    """Starts a training again and again and kills it; each start is a fork of a process that has imported TensorFlow."""

    def __init__(self, run_dir, flags, seed):
        self.run_dir, self.flags, self.random = run_dir, [*flags, f"--output_dir={run_dir}"], random.Random(seed)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["t2t_lite.training.train", "t2t_lite.bin.trainer"])

    def start(self):
        process = self.context.Process(target=_train, args=(self.flags,))
        process.start()
        return process

    def kill(self, while_writing):
        """Kills a training after a random number of new checkpoints. Returns whether one was half-written then."""
        process = self.start()
        before, wanted = max(finished_steps(self.run_dir), default=0), self.random.randrange(3)
        deadline = time.monotonic() + 200
        while len([s for s in finished_steps(self.run_dir) if s > before]) < wanted and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if while_writing:
            while not unfinished(self.run_dir) and process.is_alive():
                assert time.monotonic() < deadline
            time.sleep(self.random.random() * 0.01)
        else:
            time.sleep(self.random.random() * (0.2 if wanted else 5))
        process.kill()
        process.join()
        return unfinished(self.run_dir)

    def finish(self):
        process = self.start()
        process.join(300)
        assert process.exitcode == 0


def killed_and_finished(killer, kills):
    """Kills and finishes a run. Returns how many kills found a checkpoint half-written, and how many came too late."""
    halves = late = 0
    for number in range(kills):
        halves += killer.kill(while_writing=number % 2 == 0)
    killer.finish()
    return halves


def settings(data_dir, problem, *flags):
    return [
        *(f"--t2t_usr_dir={USR_DIR}", f"--data_dir={data_dir}", f"--problem={problem}", "--hparams_set=session_tiny"),
        *("--hparams=dropout=0.1,seed=4", "--eval_steps=1", *flags),
    ]


def test_three_kills_change_nothing(session_data, tmp_path):
    flags = settings(session_data, "session_pictures", "--train_steps=24", "--save_every=2", "--eval_every=6")
    whole = Killer(tmp_path / "whole", flags, seed=0)
    whole.finish()
    killer = Killer(tmp_path / "killed", flags, seed=1)
    assert killed_and_finished(killer, 3) >= 1
    assert_same(tmp_path / "whole", tmp_path / "killed", 24)


@pytest.mark.slow
def test_twenty_four_kills_change_nothing(session_data, tmp_path):
    """On all kinds of data, with early stopping watched."""
    stop = ["--early_stop_metric=session_reverse:accuracy", "--early_stop_patience=50"]
    steps = ["--train_steps=120", "--save_every=2", "--eval_every=10", *stop]
    flags = settings(session_data, "session", *steps)
    Killer(tmp_path / "whole", flags, seed=0).finish()
    killer = Killer(tmp_path / "killed", flags, seed=1)
    assert killed_and_finished(killer, 24) >= 6
    assert_same(tmp_path / "whole", tmp_path / "killed", 120)
