"""The public corpora, end to end on mock data of tfds."""

import importlib
import json
from typing import ClassVar

import numpy as np
import pytest

from t2t_lite import registry
from t2t_lite.bin import eval, trainer
from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.problems.problem import get_problem
from t2t_lite.problems.tfds_source import TfdsProblem

IMAGES = ["image_imagenet2012", "image_imagenette", "image_cifar10", "image_mnist"]
TRANSLATION = [
    *("translate_ende_wmt14", "translate_ende_wmt14_rev", "translate_enfr_wmt14", "translate_enfr_wmt14_rev"),
    "translate_ende_para_crawl",
]
PROBLEMS = [*IMAGES, *TRANSLATION, "caption_coco", "speech_librispeech", "speech_commands"]
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ROWS = 3

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")


@pytest.fixture(scope="module")
def tfds():
    return importlib.import_module("tensorflow_datasets")


@pytest.fixture(autouse=True)
def no_data_elsewhere(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def rows_of(dataset, split):
    found = {}
    for batch in dataset.batches(split, HParams(batch_tokens=100_000)):
        values = {key: value.numpy() for key, value in batch.items()}
        for row, index in enumerate(values["index"]):
            found[int(index)] = {key: value[row] for key, value in values.items()}
    return [found[index] for index in sorted(found)]


def captioned(builder, split, decoders, **kwargs):
    """Rows as COCO's, for mock_data: its own fail on boxes that it draws and on lists of strings."""
    import tensorflow as tf
    from tensorflow_datasets import decode
    from tensorflow_datasets.testing.mocking import RandomFakeGenerator

    assert split in ("train+restval", "val", "test")
    assert isinstance(decoders["image"], decode.SkipDecoding)
    rows = list(RandomFakeGenerator(builder.info.features, ROWS, constant_dynamic_shape=True))
    files = [builder.info.features["image"].encode_example(row["image"]) for row in rows]
    texts = [row["captions"]["text"].astype(str) for row in rows]
    return tf.data.Dataset.from_tensor_slices({"image": files, "captions": {"text": texts}})


@pytest.mark.parametrize("name", PROBLEMS)
def test_from_tfds_to_batches(name, tfds, tmp_path):
    as_dataset = captioned if name == "caption_coco" else None
    with tfds.testing.mock_data(num_examples=ROWS, as_dataset_fn=as_dataset):
        generate([name], tmp_path / "data", tmp_path / "raw", num_workers=1)
        problem = get_problem(name)
        problem.resolve(tmp_path)
        wanted = {split: list(problem.examples(split, tmp_path / "raw")) for split in problem.splits}
    dataset = Dataset.open(tmp_path / "data", name)
    assert wanted["train"] and set(wanted) >= {"train", "dev"}
    for split, examples in wanted.items():
        rows = rows_of(dataset, split)
        assert len(rows) == len(examples) >= ROWS
        for row, example in zip(rows, examples, strict=True):
            check(dataset, row, example)


def check(dataset, row, example):
    """A row of a batch is what the problem made of tfds's row."""
    for key in ("inputs", "targets"):
        feature, value = getattr(dataset.problem, key), example[key]
        if isinstance(feature, Text):
            assert dataset.vocabularies["subwords"].decode(row[key]) == value != ""
        elif isinstance(feature, Image):
            assert row[key].shape == (feature.rows, feature.columns, 3)
            assert row[key].dtype == np.uint8
            # A larger one was made smaller before it was stored, and its noise with it.
            seen = dataset.inputs_batch([value])["inputs"][0].numpy()
            assert np.corrcoef(row[key].ravel(), seen.ravel())[0, 1] > 0.9
        elif isinstance(feature, Audio):
            size = min(len(value), int(feature.max_seconds * feature.sample_rate))
            assert row["inputs_length"] == size
            np.testing.assert_array_equal(np.round(row[key][:size] * 32768), value[:size])
        elif isinstance(feature, Label):
            assert feature.classes[row[key]] == value


@pytest.mark.parametrize("name", [*IMAGES, "speech_commands"])
def test_classes_are_in_the_order_of_tfds(name, tfds, tmp_path):
    problem = get_problem(name)
    problem.resolve(tmp_path)
    with tfds.testing.mock_data():
        info = tfds.builder(problem.dataset, data_dir=str(tmp_path)).info
    # The names of CIFAR-10 come with what is fetched.
    wanted = info.features["label"].names if name != "image_cifar10" else CIFAR10
    assert list(problem.targets.classes) == wanted
    assert len(wanted) == info.features["label"].num_classes


def test_directions_of_translation(tfds, tmp_path):
    with tfds.testing.mock_data(num_examples=ROWS):
        there, back = (
            list(get_problem(name).examples("dev", tmp_path))
            for name in ("translate_ende_wmt14", "translate_ende_wmt14_rev")
        )
        rows = list(get_problem("translate_ende_wmt14").rows("dev", tmp_path))
    assert [" ".join(row["de"].decode().split()) for row in rows] == [example["targets"] for example in there]
    assert there == [{"inputs": example["targets"], "targets": example["inputs"]} for example in back]
    commands = {name: get_problem(name).command for name in TRANSLATION}
    assert list(commands.values()) == ["to_german", "to_english", "to_french", "to_english", "to_german"]


def test_splits_of_para_crawl_do_not_overlap(tfds):
    info = tfds.core.SplitInfo(name="train", shard_lengths=[10_000], num_bytes=0, filename_template=None)
    rows = {}
    for split, spec in get_problem("translate_ende_para_crawl").tfds_splits.items():
        (part,) = tfds.core.ReadInstruction.from_spec(spec).to_absolute({"train": info})
        rows[split] = (part.from_ or 0, part.to or 10_000)
    assert rows == {"dev": (0, 3000), "test": (3000, 6000), "train": (6000, 10_000)}


@pytest.mark.slow
def test_sound_to_class_trains(tfds, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    with tfds.testing.mock_data(num_examples=4):
        generate(["speech_commands"], data, tmp_path / "raw", num_workers=1)
    small = "hidden_size=16,filter_size=16,num_heads=2,encoder_blocks=1,mixer_blocks=1,decoder_blocks=1,num_experts=2"
    small += ",audio_blocks=2,categorical_width=12,batch_tokens=128"
    flags = ["--problem=speech_commands", f"--data_dir={data}", f"--output_dir={run}"]
    more = ["--hparams_set=multimodel_tiny", f"--hparams={small}", "--train_steps=2", "--eval_steps=1"]
    assert trainer.main([*flags, *more]) == 0
    assert eval.main([*flags, f"--json_out={tmp_path}/scores.json"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["problems"]["speech_commands"]
    assert scores["examples"] == 4 and 0 <= scores["accuracy"] <= scores["accuracy_top5"] <= 1


def test_a_failure_of_tfds_is_one_line(tfds, tmp_path, monkeypatch):
    asked = {}

    def refuse(self, *, download_config):
        asked["manual_dir"] = str(download_config.manual_dir)
        raise AssertionError("ImageNet requires manual download.\nPut the files into a folder.")

    with tfds.testing.mock_data(), monkeypatch.context() as patch:  # undone before mock_data's own patch of it
        patch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
        wanted = r"problem 'image_imagenet2012': tfds cannot prepare .*\(AssertionError: ImageNet"
        with pytest.raises(UserError, match=wanted) as error:
            generate(["image_imagenet2012"], tmp_path / "data", tmp_path / "raw", num_workers=1)
    assert "\n" not in str(error.value) and "docstring of ImageImagenet2012" in str(error.value)
    assert asked == {"manual_dir": str(tmp_path / "raw")}
    assert not list((tmp_path / "data").glob("image*"))


def test_every_corpus_documents_its_source():
    found = [name for name in registry.problems.describe() if issubclass(registry.problems.get(name), TfdsProblem)]
    assert sorted(found) == sorted(PROBLEMS)
    for name in (*found, "speech_wsj", "parsing_wsj", "parsing_treebank_sample"):
        doc = registry.problems.get(name).__doc__
        if name.endswith("_rev"):
            assert f"Source, licence, size and command: `{name.removesuffix('_rev')}`" in doc
            continue
        for part in ("Source: ", "Licence: ", "Get it: ", f"Command: t2t-datagen --problem={name}", "Disk: ", "Time: "):
            assert part in doc, (name, part)


def test_row_counts_come_from_tfds(tfds, tmp_path):
    class CountedRows(tfds.core.GeneratorBasedBuilder):
        """Rows that tfds really prepares."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"x": np.int64}))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(70), "extra": self._generate_examples(9)}

        def _generate_examples(self, rows):
            for row in range(rows):
                yield row, {"x": row}

    class Counted(TfdsProblem):
        inputs = Label(classes=("small", "large"))
        targets = Label(classes=("small", "large"))
        dataset = "counted_rows"
        tfds_splits: ClassVar = {"train": "train[30:]+extra", "dev": "train[:30]"}
        examples_per_row = 2
        read = 0

        def examples(self, split, raw_dir):
            for row in self.rows(split, raw_dir):
                Counted.read += 1
                size = "large" if row["x"] >= 35 else "small"
                yield from 2 * [{"inputs": size, "targets": size}]

    with registry.problems.temporary():
        registry.problems.register(Counted, name="counted")
        problem = get_problem("counted")
        assert [problem.count(split, tmp_path) for split in ("train", "dev")] == [98, 60]
        assert [len(list(problem.examples(split, tmp_path))) for split in ("train", "dev")] == [98, 60]
        Counted.read = 0
        generate(["counted"], tmp_path / "data", tmp_path, num_workers=1)
        assert Counted.read < 49 + 30 + 49  # each split once, and a look at some rows
    manifest = json.loads((tmp_path / "data" / "counted.manifest.json").read_text())
    assert {name: split["examples"] for name, split in manifest["splits"].items()} == {"train": 98, "dev": 60}
