"""The index of records: as datagen writes it, made again from the shards, damaged, and reading records with it."""

import shutil
import threading

import numpy as np
import pytest

from t2t_lite.bin import datagen
from t2t_lite.data import record_index, shard_reader
from t2t_lite.data.manifest import Manifest
from t2t_lite.data.reading import Dataset
from t2t_lite.data.record_index import RecordIndex, index_path
from t2t_lite.data.records import frame_record, parse, read_records, serialize, unframe_record, value_sizes
from t2t_lite.data.shard_reader import ShardReader
from t2t_lite.data.verify import verify
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams

NAMES = ["tiny_reverse", "tiny_pictures", "tiny_sounds"]


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate(NAMES, folder, folder, num_workers=1)
    return folder


@pytest.fixture
def copy(complete, tmp_path):
    return shutil.copytree(complete, tmp_path / "copy")


def open_index(folder, name, split="train"):
    dataset = Dataset.open(folder, name)
    return RecordIndex.open(folder, dataset.problem, split, dataset.split(split))


def indices(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.index"))}


class TestFile:
    def test_made_again_it_equals_that_of_datagen(self, complete, copy, capsys):
        for path in copy.glob("*.index"):
            path.unlink()
        for name in NAMES:
            for split in ("train", "dev"):
                open_index(copy, name, split)
        assert indices(copy) == indices(complete)
        assert len(indices(copy)) == 6
        assert f"tiny_sounds, dev: making {copy}/tiny_sounds-dev.index, the index" in capsys.readouterr().err
        assert open_index(copy, "tiny_sounds") is not None
        assert capsys.readouterr().err == ""  # once

    @pytest.mark.parametrize("offset", [0, 100, -1, -13, -24])
    def test_damaged_it_is_reported_and_made_again(self, complete, copy, capsys, offset):
        path = index_path(copy, "tiny_reverse", "train")
        content = bytearray(path.read_bytes())
        content[offset] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"tiny_reverse-train.index: (damaged|not the index)"):
            verify(copy)
        open_index(copy, "tiny_reverse")
        assert indices(copy) == indices(complete)
        assert len(verify(copy)) == 3

    def test_that_of_other_shards_is_not_used(self, complete, copy):
        """As after a kill of a generation that replaced the shards."""
        path = index_path(copy, "tiny_reverse", "train")
        other = index_path(copy, "tiny_sounds", "train").read_bytes()
        path.write_bytes(other)
        open_index(copy, "tiny_reverse")
        assert indices(copy) == indices(complete)

    def test_a_failed_write_keeps_it_in_memory(self, copy, capsys, monkeypatch):
        def fail(*_):
            raise OSError(30, "Read-only file system")

        index_path(copy, "tiny_reverse", "train").unlink()
        monkeypatch.setattr(record_index, "_write", fail)
        assert len(open_index(copy, "tiny_reverse")) == 400
        assert "cannot be written (Read-only file system); the index is kept in memory" in capsys.readouterr().err

    def test_damaged_shards_without_an_index_are_named(self, copy):
        index_path(copy, "tiny_reverse", "train").unlink()
        shard = copy / "tiny_reverse-train-00003-of-00010"
        content = bytearray(shard.read_bytes())
        content[20] ^= 1
        shard.write_bytes(content)
        with pytest.raises(UserError, match=r"train-00003-of-00010: damaged in record 0.*run t2t-datagen"):
            Dataset.open(copy, "tiny_reverse").batches("train", HParams())
        assert not index_path(copy, "tiny_reverse", "train").exists()

    def test_an_index_without_its_problem_is_extra(self, copy, capsys):
        (copy / "other-train.index").write_bytes(b"")
        assert datagen.main(["--verify", f"--data_dir={copy}"]) == 1
        assert "other-train.index: extra" in capsys.readouterr().err

    def test_generating_again_removes_those_of_other_splits(self, copy, tiny_problems, monkeypatch):
        monkeypatch.setattr(tiny_problems.TinySounds, "version", "2")
        (copy / "tiny_sounds-test.index").write_bytes(b"old")
        generate(["tiny_sounds"], copy, copy, num_workers=1)
        assert not (copy / "tiny_sounds-test.index").exists()
        assert verify(copy, ["tiny_sounds"])

    def test_progress_of_a_version_without_index(self, tmp_path, problems):
        """The index is then made from the shards."""
        path = tmp_path / "x.index.incomplete"
        rows = record_index.make_rows(np.arange(3), [(1, 2)] * 3)
        record_index.append_rows(path, 5, rows)
        assert path.stat().st_size == 0
        record_index.append_rows(path, 0, rows)
        record_index.append_rows(path, 2, rows)
        assert path.stat().st_size == 5 * 16


class TestIndex:
    def test_lengths_are_those_of_the_records(self, complete):
        index, dataset = open_index(complete, "tiny_reverse"), Dataset.open(complete, "tiny_reverse")
        shards = dataset.split("train").shards
        lengths = {}
        for n, shard in enumerate(shards):
            for m, record in enumerate(read_records(complete / shard.name)):
                lengths[m * len(shards) + n] = {key: len(ids) for key, ids in parse(record).items()}
        assert len(index) == len(lengths) == 400
        for n, sizes in lengths.items():
            assert index.fits[n] == (max(sizes.values()) <= 39)
            assert index.inputs[n] == min(sizes["inputs"], 39) + 1
            assert index.targets[n] == min(sizes["targets"], 39) + 1
        assert 400 - index.fits.sum() == dataset.split("train").too_long

    def test_counts_are_those_of_the_manifest(self, complete):
        for name in NAMES:
            for split, stored in Manifest.load(complete, name).splits.items():
                index = open_index(complete, name, split)
                longer = np.maximum(index.inputs, index.targets)[index.fits]
                values, counts = np.unique(longer, return_counts=True)
                assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == stored.positions

    def test_value_sizes(self):
        values = {"inputs": [0, 1, 127, 128, 5_000_000, 2**62], "targets": b"\x00\xff" * 300, "empty": []}
        assert value_sizes(serialize(values)) == {"inputs": 6, "targets": 600, "empty": 0}


class TestShardReader:
    def test_reads_any_records_from_many_threads(self, complete, monkeypatch):
        monkeypatch.setattr(shard_reader, "_MAX_OPEN_FILES", 3)
        index, dataset = open_index(complete, "tiny_reverse"), Dataset.open(complete, "tiny_reverse")
        shards = dataset.split("train").shards
        expected = {}
        for n, shard in enumerate(shards):
            for m, record in enumerate(read_records(complete / shard.name)):
                expected[m * len(shards) + n] = record
        reader, faults = ShardReader(complete, shards, index.offsets), []

        def read(seed):
            for records in np.random.default_rng(seed).integers(0, 400, (50, 20)):
                if reader.read(records) != [expected[n] for n in records.tolist()]:
                    faults.append(records)

        threads = [threading.Thread(target=read, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults
        assert reader.read(np.arange(400)) == [expected[n] for n in range(400)]
        assert reader.read(np.arange(0)) == []

    def test_frames(self):
        for record in (b"", b"one"):
            assert unframe_record(frame_record(record)) == record
            for frame in (frame_record(record)[:-1], frame_record(record) + b"x", b""):
                with pytest.raises(ValueError, match="damaged"):
                    unframe_record(frame)
