"""A folder of any name is read and written by TensorFlow under its own name."""

import os
from pathlib import Path

import pytest
import tensorflow as tf

from t2t_lite import literal_path as module
from t2t_lite.literal_path import literal_path

NAMES = ["run[1]", "a*b", "a?b", "{a,b}", "a\\b", "a b", "'a\"", "-a", "ü漢", "[", "a[!b]", os.fsdecode(b"a\xff")]


def _save_and_load(folder, value):
    """Writes a checkpoint and reads it back; returns what was read."""
    folder.mkdir(exist_ok=True)
    variable = tf.Variable(value)
    checkpoint = tf.train.Checkpoint(v=variable)
    with literal_path(folder) as path:
        checkpoint.write(f"{path}/ckpt-1")
        variable.assign(0.0)
        checkpoint.read(f"{path}/ckpt-1").assert_consumed()
    assert (folder / "ckpt-1.index").is_file()
    return float(variable)


@pytest.mark.parametrize("linux", [True, False])
def test_every_name_is_taken_literally(tmp_path, monkeypatch, linux):
    if not linux:
        monkeypatch.setattr(module, "_DESCRIPTORS", tmp_path / "none")
    for name in NAMES if linux else NAMES[:-1]:
        assert _save_and_load(tmp_path / name, 1.0) == 1.0


def test_a_pattern_does_not_match_another_folder(tmp_path):
    for name, value in (("axb", 2.0), ("a*b", 1.0)):
        assert _save_and_load(tmp_path / name, value) == value


def test_a_plain_path_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, Path("-a"), Path("a b")):
        with literal_path(folder) as path:
            assert path == folder


def test_a_relative_path_and_no_open_file_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    assert _save_and_load(Path("run[1]"), 1.0) == 1.0
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    assert len(after) == len(before)
    with pytest.raises(FileNotFoundError), literal_path(Path("none[1]")):
        pass
