"""The test split: of microworld, of one's own files with --test_split; runs go on after their data got one."""

import itertools
import zlib
from dataclasses import replace

import pytest

from t2t_lite.bin import datagen
from t2t_lite.data.manifest import Manifest
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.problems.problem import get_problem, get_problems
from t2t_lite.runs.run import Run

CHECKSUMS = {  # of the first 40 items of train and dev, which were the same before there was a test split
    "microworld_speech": (356099621, 1419157958),
    "microworld_image": (3522888161, 2799762058),
    "microworld_parsing": (2787293327, 4125557181),
    "microworld_ende": (890623980, 889876817),
}


@pytest.mark.parametrize("name", CHECKSUMS)
def test_microworld_has_one_apart_and_the_others_are_as_before(name, monkeypatch):
    problem = get_problem(name)
    items = {split: list(itertools.islice(problem.examples(split, None), 40)) for split in ("train", "dev")}
    assert tuple(zlib.crc32(repr(each).encode()) for each in items.values()) == CHECKSUMS[name]
    monkeypatch.setattr(type(problem), "counts", {"train": 100, "dev": 50, "test": 25})
    train, dev, test = ({problem.meaning(i) for i in problem.examples(split, None)} for split in problem.splits)
    assert problem.splits == ("train", "dev", "test") and test
    assert not test & dev and not test & train and not dev & train


def test_the_small_parsing_problem_has_the_first_trees_and_the_same_test_split():
    small, whole = (get_problem(f"microworld_parsing{suffix}") for suffix in ("_small", ""))
    examples = list(small.examples("train", None))
    assert len(examples) == 500 and examples[:100] == list(itertools.islice(whole.examples("train", None), 100))
    one, other = (list(itertools.islice(each.examples("dev", None), 5)) for each in (small, whole))
    assert one == other and type(small).items is type(whole).items
    assert small.counts | {"train": 20_000} == whole.counts
    assert small.name not in get_problems(["microworld"])


@pytest.fixture
def reviews(tmp_path):
    """Generates class_files.reviews; returns a function (flags) -> the names of its splits."""
    raw = tmp_path / "raw" / "reviews"
    raw.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (raw / f"{split}.tsv").write_text(f"good {split}\tgood\nbad {split}\tbad\n")

    def generate(*flags):
        shared = [f"--data_dir={tmp_path}/data", f"--tmp_dir={tmp_path}/raw", "--num_workers=1"]
        assert datagen.main(["--problem=class_files.reviews", *shared, *flags]) == 0
        return list(Manifest.load(tmp_path / "data", "class_files.reviews").splits)

    return generate


def test_of_own_files_it_is_stored_if_asked_for(reviews, tmp_path, capsys):
    assert reviews() == ["train", "dev"]
    assert reviews("--test_split") == ["train", "dev", "test"]
    assert "generating again: its test split is not stored yet" in capsys.readouterr().err
    for flags in ([], ["--test_split"]):
        assert reviews(*flags) == ["train", "dev", "test"]
        assert "already generated" in capsys.readouterr().err
    dataset = Dataset.open(tmp_path / "data", "class_files.reviews")
    assert dataset.split("test").examples == 2
    (tmp_path / "raw" / "reviews" / "test.tsv").unlink()
    (tmp_path / "data" / "class_files.reviews.manifest.json").unlink()
    assert reviews("--test_split") == ["train", "dev"]


@pytest.mark.parametrize("names", [("dev", "test"), ("validation", "test"), ("test",)])
def test_of_tables_it_is_stored_beside_another_that_serves_as_dev(names, tmp_path, capsys):
    raw = tmp_path / "raw" / "mine"
    raw.mkdir(parents=True)
    for split in ("train", *names):
        (raw / f"{split}.csv").write_text(f"text,label\ngood {split},good\nbad {split},bad\n")
    shared = [f"--data_dir={tmp_path}/data", f"--tmp_dir={tmp_path}/raw", "--num_workers=1"]

    def generate(*flags):
        assert datagen.main(["--problem=table_files.mine", *shared, *flags]) == 0
        splits = Manifest.load(tmp_path / "data", "table_files.mine").splits
        return list(splits), "test from test.csv" in capsys.readouterr().err

    assert generate() == (["train", "dev"], False)
    stored = len(names) == 2
    assert generate("--test_split") == (["train", "dev", *["test"] * stored], stored)


def test_a_run_goes_on_after_its_data_got_a_test_split(reviews, tmp_path):
    hparams = multimodel_tiny().replace(hidden_size=16, filter_size=8, num_heads=2, num_experts=2)
    name = "class_files.reviews"

    def create():
        return Run.create(
            tmp_path / "run", hparams, "multi_model", {name: Dataset.open(tmp_path / "data", name)}, {name: 1.0}
        )

    reviews()
    before = create()
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "ckpt-1.json").write_text("{}")
    reviews("--test_split")
    after = create()
    assert after.data != before.data
    manifest = Manifest.load(tmp_path / "data", name)
    manifest.splits["train"].shards[0] = replace(manifest.splits["train"].shards[0], crc32=1)
    manifest.save(tmp_path / "data")
    with pytest.raises(UserError, match=r"the records of problem 'class_files\.reviews' are not those trained on"):
        create()
