"""Checkpoints: which are kept, how damage is detected, and what a full disk leaves."""

import contextlib
import hashlib
import json
import os
import random
import resource

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import write_as_version_0_1_0

from t2t_lite.errors import UserError
from t2t_lite.runs.checkpoint_files import tracked_variables
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step, finished_steps


class Model(keras.layers.Layer):
    """A model with one weight, filled with one value."""

    def __init__(self, shape=(40,), value=0.0):
        super().__init__()
        self.weight = self.add_weight(name="weight", shape=shape, initializer="zeros")
        self.fill(value)

    def fill(self, value):
        self.weight.assign(np.full(self.weight.shape, value))

    def value(self):
        (value,) = set(np.asarray(self.weight).ravel().tolist())
        return value


def saved(folder, steps, keep=3, best=None, shape=(40,)):
    """Saves checkpoints whose weight is filled with the step; returns the Checkpoints object."""
    model = Model(shape)
    checkpoints = Checkpoints(folder, model, keep=keep)
    for step in steps:
        model.fill(step)
        checkpoints.save(step, {"seen": step}, best)
    return checkpoints


def restored(folder):
    """The step, the host's state and the weight that a new process restores."""
    model = Model()
    step, state = Checkpoints(folder, model).restore()
    return step, state, model.value()


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}


def test_restores_the_newest_with_its_state(tmp_path):
    assert restored(tmp_path) == (0, {}, 0.0)
    saved(tmp_path, [2, 10])
    assert restored(tmp_path) == (10, {"seen": 10}, 10.0)
    assert Checkpoints(tmp_path, Model()).restore_weights() == 10


def test_restores_the_checkpoint_of_a_given_step(tmp_path):
    saved(tmp_path, [2, 10])
    model = Model()
    assert Checkpoints(tmp_path, model).restore_weights(2) == 2
    assert model.value() == 2.0
    with pytest.raises(UserError, match=r"ckpt-5.*checkpoints there are of steps: 2, 10"):
        Checkpoints(tmp_path, model).restore_weights(5)


def test_keeps_the_last_and_the_best(tmp_path):
    saved(tmp_path, range(1, 8), keep=2, best=3)
    assert finished_steps(tmp_path) == {3, 6, 7}
    assert {name.split(".")[0] for name in files(tmp_path)} == {"ckpt-3", "ckpt-6", "ckpt-7"}
    assert chosen_step(tmp_path, "best") == 3
    assert chosen_step(tmp_path, "6") == 6
    assert chosen_step(tmp_path, "latest") is None
    with pytest.raises(UserError, match="--checkpoint: 'last' is neither latest nor best nor a step"):
        chosen_step(tmp_path, "last")
    saved(tmp_path / "other", [1])
    with pytest.raises(UserError, match="was evaluated"):
        chosen_step(tmp_path / "other", "best")


def test_saving_a_step_again_writes_only_its_state(tmp_path):
    checkpoints = saved(tmp_path, [1, 2])
    before = files(tmp_path)
    checkpoints.save(2, {"seen": "evaluated"}, best=2)
    changed = {name for name, content in files(tmp_path).items() if before[name] != content}
    assert changed == {"ckpt-2.json"}
    assert restored(tmp_path) == (2, {"seen": "evaluated"}, 2.0)


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path):
        saved(tmp_path, [1, 2])
        return tmp_path

    @pytest.fixture
    def falls_back(self, folder, capsys):
        def falls_back(*phrases):
            capsys.readouterr()
            assert restored(folder) == (1, {"seen": 1}, 1.0)
            (line,) = capsys.readouterr().err.splitlines()
            assert "ckpt-1 is used" in line
            for phrase in phrases:
                assert phrase in line

        return falls_back

    @pytest.mark.parametrize("name", ["ckpt-2.index", "ckpt-2.data-00000-of-00001", "ckpt-2.json"])
    def test_a_flipped_bit_or_a_truncated_file_is_detected(self, folder, falls_back, name):
        path = folder / "checkpoints" / name
        content = path.read_bytes()
        draw = random.Random(name)
        for place in {0, len(content) - 1, *draw.sample(range(len(content)), 40)}:
            damaged = bytearray(content)
            damaged[place] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            falls_back("ckpt-2 is damaged", name)
        for length in (0, 1, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            falls_back("ckpt-2 is damaged", name)
        path.write_bytes(content + b"\n")
        falls_back("ckpt-2 is damaged", name)
        path.unlink()
        falls_back(f"{name} is missing")
        path.write_bytes(content)
        assert restored(folder)[0] == 2

    def test_restore_weights_falls_back_too(self, folder, capsys):
        (folder / "checkpoints" / "ckpt-2.index").write_bytes(b"")
        assert Checkpoints(folder, Model()).restore_weights() == 1
        assert "ckpt-1 is used" in capsys.readouterr().err

    def test_all_damaged_is_an_error(self, folder):
        for step in (1, 2):
            (folder / "checkpoints" / f"ckpt-{step}.index").write_bytes(b"")
        for restore in (Checkpoints(folder, Model()).restore, Checkpoints(folder, Model()).restore_weights):
            with pytest.raises(UserError, match=r"all checkpoints are damaged: ckpt-2 is damaged.*; ckpt-1 is damaged"):
                restore()

    def test_a_checkpoint_of_another_model_is_not_called_damaged(self, folder, capsys):
        with pytest.raises(UserError, match=r"checkpoints/ckpt-2: of another model"):
            Checkpoints(folder, Model(shape=(41,))).restore()
        assert capsys.readouterr().err == ""

    def test_the_next_save_removes_damaged_checkpoints(self, folder):
        (folder / "checkpoints" / "ckpt-2.index").write_bytes(b"")
        saved(folder, [5])  # newer than what a run that fell back to step 1 writes next
        (folder / "checkpoints" / "ckpt-5.index").unlink()
        model = Model()
        checkpoints = Checkpoints(folder, model)
        assert checkpoints.restore().step == 1
        model.fill(4)
        checkpoints.save(4)
        assert finished_steps(folder) == {1, 2, 4}
        assert restored(folder) == (4, {}, 4.0)


class Optimizer(tf.Module):
    """Adam's variables as checkpoints see them: moments, averages, and the model's weights."""

    def __init__(self, model, value=0.0):
        super().__init__()
        self.moments = [tf.Variable(tf.fill([40], value + 0.25))]
        self._variables = [model.weight]
        self.average = tf.Module()
        self.average.updates = tf.Variable(int(value))
        self.average.shadows = [tf.Variable(tf.fill([40], value + 0.5))]
        self.average._variables = [model.weight]

    def values(self):
        return [v.numpy().ravel()[0] for v in (self.moments[0], self.average.updates, self.average.shadows[0])]


def test_keys_are_those_of_tensorflow(tmp_path):
    """Checkpoint keys are promises."""
    layer = keras.layers.Layer()
    layer.own = layer.add_weight(name="other", shape=(2,))
    layer.tuple = (Model(), Model())
    layer.again = layer.tuple[1].weight
    setattr(layer, "a.b/c", Model())
    module = tf.Module()
    module.deep = {"er": [tf.Variable(1), [tf.Variable(2)]]}
    module.layer = layer
    path = tf.train.Checkpoint(model=module).write(str(tmp_path / "all"))
    expected = {key for key, _ in tf.train.list_variables(path)} - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert len(expected) == 6 and any("a..b.Sc" in key for key in expected)
    assert tracked_variables("model", module).keys() == expected


class TestFiles:
    """The weights and their averages are in other files than the rest of the optimizer's state."""

    @pytest.fixture
    def folder(self, tmp_path):
        for step in (1, 2):
            model = Model(value=step)
            Checkpoints(tmp_path, model, Optimizer(model, step)).save(step)
        return tmp_path

    def resumed(self, folder):
        model = Model()
        optimizer = Optimizer(model)
        return Checkpoints(folder, model, optimizer).restore().step, model.value(), optimizer.values()

    def weights(self, folder):
        model = Model()
        return Checkpoints(folder, model).restore_weights(), model.value()

    def test_have_what_their_names_say(self, folder):
        prefix = folder / "checkpoints" / "ckpt-2"
        found = [sorted(key for key, _ in tf.train.list_variables(f"{prefix}{end}")) for end in ("", ".optimizer")]
        assert [[key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE") for key in keys] for keys in found] == [
            ["model/weight", "optimizer/average/shadows/0"],
            ["optimizer/average/updates", "optimizer/moments/0"],
        ]
        assert self.resumed(folder) == (2, 2.0, [2.25, 2, 2.5])
        assert self.weights(folder) == (2, 2.5)

    @pytest.mark.parametrize("end", ["index", "data-00000-of-00001"])
    def test_a_damaged_file_of_the_optimizer_stops_training_alone(self, folder, capsys, end):
        path = folder / "checkpoints" / f"ckpt-2.optimizer.{end}"
        for damage in (lambda: path.write_bytes(path.read_bytes()[:-1]), path.unlink):
            damage()
            assert self.weights(folder) == (2, 2.5)
            assert capsys.readouterr().err == ""
            assert self.resumed(folder) == (1, 1.0, [1.25, 1, 1.5])
            assert path.name in capsys.readouterr().err

    def test_a_damaged_file_of_the_weights_stops_everything(self, folder, capsys):
        (folder / "checkpoints" / "ckpt-2.index").unlink()
        assert self.weights(folder) == (1, 1.5)
        assert self.resumed(folder)[0] == 1
        assert capsys.readouterr().err.count("ckpt-2 is damaged (ckpt-2.index is missing); ckpt-1 is used") == 2

    def test_those_of_version_0_1_0_are_read(self, folder, capsys):
        """One file for weights and optimizer, with TensorFlow's object graph."""
        model = Model(value=3)
        optimizer = Optimizer(model, 3)
        write_as_version_0_1_0(folder, 3, model, optimizer)
        assert self.resumed(folder) == (3, 3.0, [3.25, 3, 3.5])
        assert self.weights(folder) == (3, 3.5)
        with pytest.raises(UserError, match=r"checkpoints/ckpt-3: of another model"):
            Checkpoints(folder, Model(shape=(41,))).restore()
        checkpoints = Checkpoints(folder, model, optimizer, keep=2)
        checkpoints.restore()
        checkpoints.save(4)
        assert {name.split(".")[0] for name in files(folder)} == {"ckpt-3", "ckpt-4"}
        assert self.resumed(folder) == (4, 3.0, [3.25, 3, 3.5])
        (folder / "checkpoints" / "ckpt-4.optimizer.index").unlink()
        assert self.resumed(folder)[0] == 3
        (folder / "checkpoints" / "ckpt-3.index").unlink()
        with pytest.raises(UserError, match="all checkpoints are damaged"):
            self.resumed(folder)


class TestHalfWritten:
    """What SIGKILL leaves: files of a checkpoint without its JSON."""

    def leave(self, folder, step):
        (folder / "checkpoints" / f"ckpt-{step}_temp").mkdir(parents=True)
        (folder / "checkpoints" / f"ckpt-{step}_temp" / "part-00000-of-00001.index").write_bytes(b"half")
        (folder / "checkpoints" / f"ckpt-{step}.data-00000-of-00001").write_bytes(b"half")
        (folder / "checkpoints" / f"ckpt-{step}.json.incomplete").write_bytes(b"{")

    def test_the_first_one(self, tmp_path, capsys):
        self.leave(tmp_path, 3)
        assert restored(tmp_path) == (0, {}, 0.0)
        assert "ckpt-3 was not finished" in capsys.readouterr().err
        with pytest.raises(UserError, match="no checkpoint in"):
            Checkpoints(tmp_path, Model()).restore_weights()

    def test_is_ignored_and_removed(self, tmp_path, capsys):
        saved(tmp_path, [2])
        self.leave(tmp_path, 3)
        assert restored(tmp_path) == (2, {"seen": 2}, 2.0)
        assert "ckpt-3 was not finished" in capsys.readouterr().err
        saved(tmp_path, [4])
        assert {name.split(".")[0] for name in files(tmp_path)} == {"ckpt-2", "ckpt-4"}
        assert all(b"half" not in content for content in files(tmp_path).values())


@contextlib.contextmanager
def files_up_to(size):
    """Makes writing more than `size` bytes to a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFullDisk:
    @pytest.mark.parametrize("size", [0, 100, 60_000])
    def test_leaves_the_last_checkpoint_intact(self, tmp_path, size):
        checkpoints = saved(tmp_path, [1, 2], shape=(40_000,))
        before = files(tmp_path)
        with (
            files_up_to(size),
            pytest.raises(
                UserError,
                match=f"{tmp_path}: cannot write the checkpoint of step 3: .*; the last good checkpoint is of step 2",
            ),
        ):
            checkpoints.save(3)
        assert files(tmp_path) == before
        checkpoints.save(3, {"seen": 3})
        assert finished_steps(tmp_path) == {1, 2, 3}

    def test_while_the_description_is_written(self, tmp_path, monkeypatch):
        checkpoints = saved(tmp_path, [1])
        before = files(tmp_path)

        def full(path, content):
            path.with_name(path.name + ".incomplete").write_bytes(content[:3])
            raise OSError(28, os.strerror(28), str(path))

        with monkeypatch.context() as patch:
            patch.setattr("t2t_lite.runs.checkpoints.write_atomically", full)
            for step in (1, 2):  # a new state of an old one, and a new one
                with pytest.raises(UserError, match=r"No space left on device; the last good checkpoint is of step 1"):
                    checkpoints.save(step, {"seen": "new"})
        assert before.items() <= files(tmp_path).items()
        assert restored(tmp_path) == (1, {"seen": 1}, 1.0)
        checkpoints.save(3)
        assert not [name for name in files(tmp_path) if name.startswith("ckpt-2") or name.endswith("incomplete")]

    def test_of_the_scalars(self, tmp_path):
        checkpoints = saved(tmp_path, [1])
        message = (
            f"{tmp_path}: cannot write the scalars: No space left on device; the last good checkpoint is of step 1"
        )
        for error in (
            OSError(28, "No space left on device"),
            tf.errors.ResourceExhaustedError(None, None, "events.v2; No space left on device"),
        ):
            with pytest.raises(UserError, match=message), checkpoints.report_write_errors():
                raise error

    def test_other_errors_pass(self, tmp_path):
        checkpoints = Checkpoints(tmp_path, Model())
        for error in (
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
            FileNotFoundError(2, "No such file"),
            ValueError("other"),
        ):
            with pytest.raises(type(error)), checkpoints.report_write_errors():
                raise error


def test_its_checksums_are_those_of_the_files(tmp_path):
    saved(tmp_path, [1])
    found = files(tmp_path)
    written = json.loads(found.pop("ckpt-1.json"))["files"]
    assert written == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in found.items()
    }
