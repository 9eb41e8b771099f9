"""Checkpoints written while training goes on: their content, their errors, and what a kill at any moment leaves."""

import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, floats, stored_tensors

from t2t_lite.errors import UserError
from t2t_lite.runs import checkpoints as module
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.training.optimizer import make_optimizer


class Model(keras.layers.Layer):
    """Two weights filled with one value."""

    def __init__(self):
        super().__init__()
        self.matrix = self.add_weight(name="matrix", shape=(30, 20), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(20,), initializer="zeros")

    def fill(self, value):
        for weight in self.weights:
            weight.assign(np.full(weight.shape, value))

    def value(self):
        (value,) = {x for weight in self.weights for x in np.asarray(weight).ravel().tolist()}
        return value


class Training:
    """A model with Adam and moving averages; each step changes every variable in place."""

    def __init__(self, folder, keep=3):
        self.model = Model()
        self.optimizer = make_optimizer(SMALL.replace(average_decay=0.9), self.model.trainable_variables)
        self.checkpoints = Checkpoints(folder, self.model, self.optimizer, keep)

    def step(self):
        self.optimizer.apply([floats(np.full(weight.shape, 0.5)) for weight in self.model.weights], 0.1)


@pytest.fixture
def gate(monkeypatch):
    """Holds the writing of each file until the event is set; `begun` is set when one is held."""
    write = module.write_tensors
    gate = threading.Event()
    gate.begun = threading.Event()

    def write_when_open(*arguments):
        gate.begun.set()
        assert gate.wait(60)
        write(*arguments)

    monkeypatch.setattr(module, "write_tensors", write_when_open)
    yield gate
    gate.set()


@pytest.fixture
def full_disk(monkeypatch):
    """While set, writing a file fails as on a full disk."""
    write = module.write_tensors
    full = threading.Event()

    def write_or_fail(*arguments):
        if full.is_set():
            raise OSError(28, os.strerror(28))
        write(*arguments)

    monkeypatch.setattr(module, "write_tensors", write_or_fail)
    return full


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def restored(folder):
    """The step, the host's state and the weight that a new process restores."""
    model = Model()
    step, state = Checkpoints(folder, model).restore()
    return step, state, model.value()


def test_the_checkpoint_has_the_state_of_its_step_while_training_goes_on(tmp_path, gate):
    training = Training(tmp_path / "background")
    training.step()
    gate.set()
    Checkpoints(tmp_path / "foreground", training.model, training.optimizer).save(1)
    gate.clear()
    state, saved = {"moving": [1]}, []
    training.checkpoints.save_in_background(1, state, on_saved=lambda: saved.append(1))
    state["moving"].append(2)
    for _ in range(3):
        training.step()
    training.checkpoints.raise_error()
    assert not finished_steps(tmp_path / "background") and not saved
    gate.set()
    training.checkpoints.wait()
    assert saved == [1]
    expected, found = stored_tensors(tmp_path / "foreground", 1), stored_tensors(tmp_path / "background", 1)
    assert expected.keys() == found.keys() and len(found) == 2 * 4 + 3  # weights, averages, moments and counts
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    resumed = Training(tmp_path / "background")
    assert resumed.checkpoints.restore() == (1, {"moving": [1]})
    for _ in range(3):
        resumed.step()
    for mine, theirs in zip(resumed.optimizer.variables, training.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_checkpoints_are_written_one_after_another(tmp_path, monkeypatch):
    training, events, write = Training(tmp_path, keep=1), [], module.write_tensors

    def slowly(prefix, *arguments):
        events.append(f"begin {prefix.name}")
        time.sleep(0.05)
        write(prefix, *arguments)
        events.append(f"end {prefix.name}, finished are {finished_steps(tmp_path)}")

    monkeypatch.setattr(module, "write_tensors", slowly)
    for step in (1, 2, 3):
        training.checkpoints.save_in_background(step)
    training.checkpoints.wait()
    expected = []
    for step, finished in ((1, set()), (2, {1}), (3, {2})):  # an old one is removed after the new one is complete
        for name in (f"ckpt-{step}", f"ckpt-{step}.optimizer"):
            expected += [f"begin {name}", f"end {name}, finished are {finished}"]
    assert events == expected
    assert finished_steps(tmp_path) == {3}


def test_the_state_of_a_step_being_written_can_be_saved_again(tmp_path, gate):
    """As after the evaluation of the step, which may end before the writing."""
    model = Model()
    checkpoints = Checkpoints(tmp_path, model, keep=1)
    for step in (1, 2):
        model.fill(step)
        gate.clear()
        checkpoints.save_in_background(step, {"seen": "trained"}, best=1)
        model.fill(9)
        checkpoints.save_in_background(step, {"seen": "evaluated"}, best=1)
        gate.set()
        checkpoints.wait()
    assert restored(tmp_path) == (2, {"seen": "evaluated"}, 2.0)
    assert finished_steps(tmp_path) == {1, 2}


class TestErrors:
    MESSAGE = "cannot write the checkpoint of step 2: No space left on device; the last good checkpoint is of step 1"

    @pytest.fixture
    def checkpoints(self, tmp_path, full_disk):
        """Has saved step 1; writing step 2 fails."""
        checkpoints = Checkpoints(tmp_path, Model())
        checkpoints.save(1)
        full_disk.set()
        checkpoints.save_in_background(2)
        return checkpoints

    def test_the_next_save_raises_and_a_later_one_works(self, checkpoints, full_disk, tmp_path):
        with pytest.raises(UserError, match=self.MESSAGE):
            checkpoints.save_in_background(3)
        checkpoints.wait()
        full_disk.clear()
        assert names(tmp_path) == ["ckpt-1.data-00000-of-00001", "ckpt-1.index", "ckpt-1.json"]
        checkpoints.save(2)
        assert finished_steps(tmp_path) == {1, 2}

    def test_saving_the_state_of_the_same_step_raises(self, checkpoints):
        with pytest.raises(UserError, match=self.MESSAGE):
            checkpoints.save(2, {"seen": "evaluated"})
        assert checkpoints.last_step == 1

    def test_a_look_raises_once_the_writing_has_failed(self, checkpoints):
        def look():
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                checkpoints.raise_error()
                time.sleep(0.01)

        with pytest.raises(UserError, match=self.MESSAGE):
            look()

    def test_the_end_of_the_block_raises(self, checkpoints):
        with pytest.raises(UserError, match=self.MESSAGE), checkpoints:
            pass

    def test_another_error_is_raised_beside_it(self, checkpoints, capsys):
        with pytest.raises(ZeroDivisionError), checkpoints:
            raise ZeroDivisionError
        assert self.MESSAGE in capsys.readouterr().err

    def test_memory_for_the_copy(self, tmp_path, monkeypatch):
        def fail(_):
            raise MemoryError

        monkeypatch.setattr(tf, "identity", fail)
        with pytest.raises(UserError, match="memory does not suffice for a copy of weights and optimizer state"):
            Checkpoints(tmp_path, Model()).save_in_background(1)


def test_an_error_in_training_leaves_the_checkpoint_begun_complete(tmp_path, gate):
    checkpoints = Checkpoints(tmp_path, Model())
    with pytest.raises(ZeroDivisionError), checkpoints:
        checkpoints.save_in_background(1)
        gate.set()
        raise ZeroDivisionError
    assert finished_steps(tmp_path) == {1}


@pytest.mark.parametrize("waiting", [False, True])
def test_ctrl_c_cancels_the_writing(tmp_path, gate, waiting):
    saved, training = [], Training(tmp_path)
    gate.set()
    training.checkpoints.save(1)
    gate.clear()
    before = names(tmp_path)
    opener = threading.Thread(target=lambda: training.checkpoints._cancelled.wait(60) and gate.set())
    opener.start()
    with pytest.raises(KeyboardInterrupt), training.checkpoints:
        training.checkpoints.save_in_background(2, on_saved=lambda: saved.append(2))
        assert gate.begun.wait(60)
        if waiting:  # the signal arrives while the loop waits
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
            training.checkpoints.wait()
        raise KeyboardInterrupt
    opener.join()
    assert names(tmp_path) == before and not saved
    assert training.checkpoints.last_step == 1
    training.checkpoints.save(2)
    assert finished_steps(tmp_path) == {1, 2}


def die_at(number):
    """Makes this process kill itself at one of the places where writing a checkpoint touches the disk.

    Returns:
      The counter of the places; no number kills at a negative `number`.
    """
    places = itertools.count()

    def place(then=lambda: None):
        if next(places) == number:
            then()
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, name):
        function = getattr(owner, name)

        def call(*arguments, **keywords):
            place()
            result = function(*arguments, **keywords)
            if owner is module and name == "write_tensors":
                data = Path(f"{arguments[0]}.data-00000-of-00001")
                place(lambda: os.truncate(data, data.stat().st_size // 2))  # the rest is not on the disk yet
            return result

        setattr(owner, name, call)

    for owner, name in ((module, "write_tensors"), (module, "sync"), (module, "fingerprint")):
        around(owner, name)
    for owner, name in ((module, "write_atomically"), (os, "replace"), (Path, "unlink")):
        around(owner, name)
    return places


def train_and_die(folder, number):
    """Resumes, trains, saves step 3 and dies at a place of the writing; or sets its exit status to their count."""
    training = Training(Path(folder), keep=1)
    training.checkpoints.restore()
    training.model.fill(3)
    with training.checkpoints:
        places = die_at(number)
        training.checkpoints.save_in_background(3, {"seen": 3})
        training.model.fill(99)
    os._exit(next(places))


@pytest.fixture(scope="module")
def run_child():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["t2t_lite.training.optimizer", "t2t_lite.runs.checkpoints", "checks"])

    def run_child(*arguments):
        process = context.Process(target=train_and_die, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run_child


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path, run_child):
    def made(name):
        training = Training(tmp_path / name)
        for step in (1, 2):
            training.model.fill(step)
            training.checkpoints.save(step, {"seen": step})
        return tmp_path / name

    places = run_child(str(made("unharmed")), -1)
    assert places > 20
    renamed = False
    chosen = random.Random(3).sample(range(1, places - 1), 4)
    for number in [0, *sorted(chosen), places - 1]:
        folder = made(str(number))
        assert run_child(str(folder), number) == -signal.SIGKILL
        step, state, value = restored(folder)
        assert (state, value) == ({"seen": step}, step)
        assert step == 3 if renamed else step in (2, 3)
        renamed = step == 3
        with Checkpoints(folder, Model()):  # the next start
            left = names(folder)
        assert {int(name.split(".")[0].removeprefix("ckpt-")) for name in left} == finished_steps(folder)
        assert not [name for name in left if not name.endswith((".index", ".json", "-of-00001"))]
        training = Training(folder, keep=1)
        training.checkpoints.restore()
        training.checkpoints.save(4)
        assert finished_steps(folder) == {4}
    assert renamed
