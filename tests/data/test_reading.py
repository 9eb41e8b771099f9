"""Reading records as batches: round trips from datagen, bucketing, padding, order, resuming, damaged files."""

import dataclasses
import gc
import io
import random
import subprocess
import sys
from pathlib import Path

import conftest
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as PilImage

from t2t_lite import registry
from t2t_lite.data.batch_shards import shard_batch
from t2t_lite.data.encoding import pcm16
from t2t_lite.data.reading import Dataset, _readers, _traced_load
from t2t_lite.data.records import read_records
from t2t_lite.data.shard_reader import ShardReader
from t2t_lite.data.verify import verify
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems import Image, Label, Problem, Text
from t2t_lite.problems.problem import get_problem

USR_DIR = conftest.USR
NAMES = ["tiny_reverse", "tiny_pictures", "tiny_sounds"]
HPARAMS = HParams(batch_tokens=200, batch_max_examples=16)


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate(NAMES, folder, folder, num_workers=1)
    return folder


@pytest.fixture(scope="module")
def raw():
    """{(problem, split): raw examples}"""
    found = {}
    for name in NAMES:
        problem = get_problem(name)
        for split in problem.splits:
            found[name, split] = [problem.convert(item) for item in problem.examples(split, Path())]
    return found


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read(dataset, split, hparams=HPARAMS, **kwargs):
    with dataset.reading():
        return [{k: v.numpy() for k, v in batch.items()} for batch in dataset.batches(split, hparams, **kwargs)]


def in_order(batches, key):
    """{index: value} of all batches."""
    return {int(i): value for batch in batches for i, value in zip(batch["index"], batch[key], strict=True)}


class TestVocabulary:
    def test_round_trip(self):
        vocabulary = Vocabulary.train(["the red house", "das rote Haus", "123 \u2581 45"] * 20, 400)
        rng = random.Random(0)
        alphabet = " ab\n\t\r\0\u2581\U0010ffff01<>/s日🙂\u3000\u2028\ufeffé\u0301\ufffdthe"
        texts = ["".join(rng.choices(alphabet, k=rng.randint(0, 9))) for _ in range(2000)]
        for text in [*texts, "", " ", "  a  ", "</s>", "<pad>", "<unk>", "<0x41>", "\u2581\U0010ffff0", "a\r\nb\n"]:
            ids = vocabulary.encode(text)
            assert vocabulary.decode(ids) == text
            assert not {0, 1, 2} & set(ids)

    def test_decode_stops_at_the_end_token_and_ignores_padding(self):
        vocabulary = Vocabulary.train(["red house"] * 9, 400)
        ids = vocabulary.encode("red")
        assert vocabulary.decode([0, *ids, 99999, 1, *ids, 0, 0]) == "red"
        assert vocabulary.decode(np.array(ids, np.int32)) == "red"

    def test_same_text_gives_the_same_vocabulary(self):
        texts = ["one two three", "four five six"] * 50
        assert Vocabulary.train(texts, 400).checksum == Vocabulary.train(iter(texts), 400).checksum
        assert Vocabulary.train(texts, 400).checksum != Vocabulary.train([*texts[:-1], "seven"], 400).checksum

    def test_size_is_a_limit(self):
        assert Vocabulary.train([" ".join(str(n * n) + chr(97 + n % 26) for n in range(999))] * 3, 300).size <= 300
        with pytest.raises(UserError, match="vocab_size=200 is too small"):
            Vocabulary.train(["red house"], 200)
        with pytest.raises(UserError, match="no text"):
            Vocabulary.train([], 300)


def test_datagen_workers_do_not_import_tensorflow():
    code = "import sys, t2t_lite.datagen.generate, t2t_lite.problems; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestGenerate:
    def test_files_do_not_depend_on_the_number_of_workers(self, data_dir, tmp_path):
        generate(NAMES, tmp_path, data_dir, num_workers=3, usr_dirs=[USR_DIR])
        assert files_of(tmp_path) == files_of(data_dir)

    def test_names_and_counts(self, data_dir):
        names = set(files_of(data_dir))
        assert {"tiny_reverse-train-00009-of-00010", "tiny_reverse-dev-00000-of-00001", "vocab.tiny.model"} <= names
        assert "tiny_pictures-train-00000-of-00001" in names  # too few for ten shards
        assert not [name for name in names if "incomplete" in name]
        split = Dataset.open(data_dir, "tiny_reverse").split("train")
        assert split.examples == 400
        assert sum(split.positions.values()) + split.too_long == 400
        assert split.too_long > 0

    def test_complete_problems_are_skipped(self, data_dir, capsys):
        before = {path: path.stat().st_mtime_ns for path in data_dir.iterdir()}
        generate(NAMES, data_dir, "no such folder", num_workers=1)
        assert {path: path.stat().st_mtime_ns for path in data_dir.iterdir()} == before
        assert "tiny_reverse: already generated" in capsys.readouterr().err

    def test_a_missing_shard_or_a_changed_declaration_generates_again(self, tmp_path, monkeypatch, capsys):
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        before = files_of(tmp_path)
        (tmp_path / "tiny_sounds-train-00003-of-00010").unlink()
        (tmp_path / "tiny_sounds-train-00000-of-00077").write_bytes(b"left by an older version")
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert files_of(tmp_path) == before
        monkeypatch.setattr(registry.problems.get("tiny_sounds"), "version", "2")
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert Dataset.open(tmp_path, "tiny_sounds").manifest.declaration["version"] == "2"
        assert "00003-of-00010: missing" in capsys.readouterr().err

    def test_vocabulary_is_shared_and_never_changed(self, data_dir, tmp_path):
        generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)
        model = vocabulary_path(tmp_path, "tiny").read_bytes()
        assert model != vocabulary_path(data_dir, "tiny").read_bytes()  # built from two problems
        generate(["tiny_pictures"], tmp_path, tmp_path, num_workers=1)
        assert vocabulary_path(tmp_path, "tiny").read_bytes() == model
        both = [Dataset.open(tmp_path, name).vocabularies["tiny"].checksum for name in NAMES[:2]]
        assert both[0] == both[1]

    def test_vocabulary_is_built_from_a_uniform_sample(self, tmp_path, monkeypatch):
        seen = []

        def train(texts, size, symbols):
            seen.append(list(texts))
            return Vocabulary(Vocabulary.load(vocabulary_path(tmp_path, "kept")).model)

        vocabulary_path(tmp_path, "kept").write_bytes(Vocabulary.train(["red house"], 300).model)
        monkeypatch.setattr("t2t_lite.datagen.generate._SAMPLE_BYTES", 20_000)
        monkeypatch.setattr("t2t_lite.datagen.build_vocabularies.Vocabulary.train", train)
        for folder in ("a", "b"):
            generate(["tiny_reverse"], tmp_path / folder, tmp_path, num_workers=1)
        assert seen[0] == seen[1]
        assert 14_000 < sum(len(text) + 100 for text in seen[0]) <= 20_000
        assert len(seen[0]) < 150  # of 800
        problem = get_problem("tiny_reverse")
        index = {example["inputs"]: n for n, example in enumerate(problem.examples("train", tmp_path))}
        assert 100 < np.mean([index[text] for text in seen[0][::2]]) < 300  # of 400

    def test_sizes_of_one_vocabulary_must_agree(self, tmp_path, monkeypatch):
        monkeypatch.setattr(registry.problems.get("tiny_pictures"), "targets", Text(vocab="tiny", vocab_size=300))
        with pytest.raises(UserError, match="'tiny' is declared with different sizes: 8192 by 'tiny_reverse', 300 by"):
            generate(NAMES, tmp_path, tmp_path, num_workers=1)

    def test_classes_are_collected_from_the_training_split(self, data_dir, tmp_path, monkeypatch):
        assert Dataset.open(data_dir, "tiny_sounds").problem.targets.classes == ("go", "no", "yes")
        monkeypatch.setattr(registry.problems.get("tiny_sounds"), "extra_class", "maybe")
        with pytest.raises(UserError, match=r"'tiny_sounds', split 'dev', example 10, targets: no class 'maybe'"):
            generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
    def test_interruption_leaves_no_manifest(self, tmp_path, error):
        @registry.problems.register(name=f"interrupted_{error.__name__}")
        class Interrupted(Problem):
            inputs, targets = Text(vocab="tiny"), Label(("a",))
            fails = False

            def examples(self, split, raw_dir):
                yield from ({"inputs": "red", "targets": "a"} for _ in range(300))
                if split == "dev":
                    raise error

        name = f"interrupted_{error.__name__}"
        with pytest.raises(error):
            generate([name], tmp_path, tmp_path, num_workers=1)
        assert [file for file in files_of(tmp_path) if not file.endswith(".incomplete")] == ["vocab.tiny.model"]
        with pytest.raises(UserError, match=f"run t2t-datagen --problem={name} --data_dir={tmp_path}"):
            Dataset.open(tmp_path, name)

    def test_a_worker_that_dies_is_an_error(self, tmp_path):
        with pytest.raises(UserError, match="a worker process died"):
            generate(["tiny_deadly"], tmp_path, tmp_path, num_workers=2, usr_dirs=[USR_DIR])

    def test_an_error_in_a_worker_is_raised(self, tmp_path):
        with pytest.raises(UserError, match="unknown problem 'tiny_reverse'"):
            generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=2)  # without usr_dirs

    @pytest.mark.parametrize(
        ("inputs", "example", "message"),
        [
            (Text(), None, "split 'train' has no examples|no text to build"),
            (Text(), {"inputs": 7, "targets": "a"}, "split 'train', example 0, inputs: expected text, got int"),
            (Text(), {"inputs": "x"}, "example 0: not a dict with 'inputs' and 'targets'"),
            (Label(("b",)), {"inputs": "c", "targets": "a"}, "inputs: no class 'c'"),
            (registry.problems, {"inputs": np.zeros((3, 2)), "targets": "a"}, "expected a mono waveform"),
        ],
    )
    def test_bad_examples_are_named(self, tmp_path, inputs, example, message):
        from t2t_lite.problems import Audio

        feature = Audio() if inputs is registry.problems else inputs

        class Bad(Problem):
            inputs, targets = feature, Label(("a",))

            def examples(self, split, raw_dir):
                return [] if example is None else [example]

        with registry.problems.temporary():
            registry.problems.register(Bad)
            vocabulary_path(tmp_path, "subwords").write_bytes(Vocabulary.train(["red house"], 300).model)
            with pytest.raises(UserError, match=message):
                generate(["bad"], tmp_path, tmp_path, num_workers=1)
        assert list(files_of(tmp_path)) == ["vocab.subwords.model"]


def test_waveforms_that_cannot_be_stored():
    assert pcm16(np.array([-1.0, 0.5, 2.0])).tolist() == [-32768, 16384, 32767]
    for bad in (np.array([np.nan]), np.zeros(0), np.zeros(3, np.int32), np.array(["x"])):
        with pytest.raises(UserError):
            pcm16(bad)


class TestRoundTrip:
    def test_text(self, data_dir, raw):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        decode = dataset.vocabularies["tiny"].decode
        for split in ("train", "dev"):
            batches = read(dataset, split, HPARAMS)
            for key in ("inputs", "targets"):
                texts = {i: decode(ids) for i, ids in in_order(batches, key).items()}
                wanted = [example[key] for example in raw["tiny_reverse", split]]
                assert sorted(texts) == list(range(len(wanted)))
                for i, text in enumerate(wanted):
                    ids = dataset.vocabularies["tiny"].encode(text)
                    assert texts[i] == (text if len(ids) < 40 else decode(ids[:39]))
        assert any(len(dataset.vocabularies["tiny"].encode(e["inputs"])) >= 40 for e in raw["tiny_reverse", "dev"])

    def test_pictures_and_their_captions(self, data_dir, raw):
        dataset = Dataset.open(data_dir, "tiny_pictures")
        batches = read(dataset, "dev")
        pictures, captions = in_order(batches, "inputs"), in_order(batches, "targets")
        for i, example in enumerate(raw["tiny_pictures", "dev"]):
            assert pictures[i].shape == (4, 6, 3)
            assert pictures[i].dtype == np.uint8
            if example["inputs"].shape == (4, 6, 3):
                np.testing.assert_allclose(pictures[i], example["inputs"])
            else:  # resized
                np.testing.assert_allclose(pictures[i].mean(), example["inputs"].mean(), atol=13)
            assert dataset.vocabularies["tiny"].decode(captions[i]) == example["targets"]

    def test_sounds_and_their_classes(self, data_dir, raw):
        dataset = Dataset.open(data_dir, "tiny_sounds")
        batches = read(dataset, "dev")
        sounds, sizes, labels = (in_order(batches, key) for key in ("inputs", "inputs_length", "targets"))
        assert len(sounds) == 10
        cut = 0
        for i, example in enumerate(raw["tiny_sounds", "dev"]):
            samples = example["inputs"] / (32768 if example["inputs"].dtype == np.int16 else 1)
            size = min(len(samples), 8000)
            cut += len(samples) > size
            assert sizes[i] == size
            np.testing.assert_allclose(sounds[i][:size], samples[:size], atol=1 / 32768)
            assert not sounds[i][size:].any()
            assert dataset.problem.targets.classes[labels[i]] == example["targets"]
        assert cut  # some are longer than the maximum
        for batch in batches:
            assert batch["inputs"].shape[1] % 640 == 0
            assert batch["inputs_length"].max() <= batch["inputs"].shape[1]


class TestBatches:
    def test_bucketing_and_padding(self, data_dir):
        batches = read(Dataset.open(data_dir, "tiny_reverse"), "dev", shuffle=False)
        assert [b["index"].tolist() for b in batches] == [
            b["index"].tolist() for b in read(Dataset.open(data_dir, "tiny_reverse"), "dev", shuffle=False)
        ]
        for batch in batches:
            assert sorted(batch["index"]) == list(batch["index"])
            sides = batch["inputs"].shape[1], batch["targets"].shape[1]
            assert set(sides) <= {*range(4, 16), *range(16, 32, 2), 32, 36, 40}
            assert len(batch["index"]) <= min(16, 200 // max(sides))
            for ids in (*batch["inputs"], *batch["targets"]):
                end = ids.tolist().index(1)
                assert 0 not in ids[:end]
                assert not ids[end + 1 :].any()
        assert len({len(b["index"]) for b in batches}) > 2
        assert len({b["inputs"].shape[1] for b in batches}) > 2

    def test_an_example_longer_than_batch_tokens_makes_a_batch(self, data_dir):
        batches = read(Dataset.open(data_dir, "tiny_reverse"), "dev", HPARAMS.replace(batch_tokens=3))
        assert {len(b["index"]) for b in batches} == {1}
        assert len(batches) == 90

    def test_an_epoch_of_training_has_every_example_that_fits_once(self, data_dir):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        stored = dataset.split("train")
        decode = dataset.vocabularies["tiny"].decode
        epochs = []
        whole = {i: decode(ids) for i, ids in in_order(read(dataset, "train"), "inputs").items()}
        stream = iter(dataset.batches("train", HPARAMS, shuffle=True, repeat=True, seed=3))
        for _ in range(2):
            texts = []
            while len(texts) < stored.examples - stored.too_long:
                batch = next(stream)
                texts += [decode(ids) for ids in batch["inputs"].numpy()]
                assert [whole[i] for i in batch["index"].numpy()] == texts[-len(batch["index"]) :]
            epochs.append(texts)
        assert sorted(epochs[0]) == sorted(epochs[1])
        assert len(epochs[0]) == 400 - stored.too_long
        assert set(epochs[0]) <= set(whole.values())
        assert epochs[0] != epochs[1]

    def test_order_depends_on_the_seed_only_and_skip_is_exact(self, data_dir):
        dataset = Dataset.open(data_dir, "tiny_reverse")

        def first(number, **kwargs):
            batches = dataset.batches("train", HPARAMS, shuffle=True, repeat=True, **kwargs).take(number)
            return [(b["inputs"].numpy().tolist(), b["targets"].numpy().tolist()) for b in batches]

        once = first(200, seed=1)  # about three epochs
        assert first(200, seed=1) == once
        assert first(20, seed=2) != once[:20]
        assert first(5) == first(5, seed=HPARAMS.seed)
        for skip in (1, 130):
            assert first(10, seed=1, skip=skip) == once[skip : skip + 10]

    def test_skip_of_an_evaluation(self, data_dir):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        every = [b["index"].tolist() for b in read(dataset, "dev")]
        assert [b["index"].tolist() for b in read(dataset, "dev", skip=3)] == every[3:]

    @pytest.mark.parametrize("name", NAMES)
    def test_batches_do_not_depend_on_the_number_of_threads(self, data_dir, monkeypatch, name):
        dataset = Dataset.open(data_dir, name)
        found = []
        for threads in (1, 2, 16):
            monkeypatch.setattr("t2t_lite.data.reading._THREADS", threads)
            batches = dataset.batches("train", HPARAMS, shuffle=True, repeat=True, seed=6).take(40)
            found.append([{key: value.numpy() for key, value in batch.items()} for batch in batches])
        assert len(found[0]) == 40
        for other in found[1:]:
            for expected, batch in zip(found[0], other, strict=True):
                assert expected.keys() == batch.keys()
                for key, value in expected.items():
                    np.testing.assert_array_equal(batch[key], value)

    @pytest.mark.parametrize("name", ["tiny_pictures", "tiny_reverse"])
    def test_batches_do_not_depend_on_the_global_seed(self, data_dir, name):
        dataset, found = Dataset.open(data_dir, name), []
        try:
            for seed in (None, 0, 7):
                tf.random.set_seed(seed)
                batches = dataset.batches("train", HPARAMS, shuffle=True, repeat=True, seed=6).take(5)
                found.append([batch["index"].numpy().tolist() for batch in batches])
        finally:
            tf.random.set_seed(None)
        assert found[0] == found[1] == found[2]

    def test_skipping_decodes_no_pictures(self, data_dir, monkeypatch):
        """Nor does it read records: the plan of an epoch says which ones a batch has."""
        decoded = []

        def decode(pictures, rows, columns, crop_seed):
            count = tf.py_function(lambda: decoded.append(1) or 0, [], tf.int32)
            with tf.control_dependencies([count]):
                return tf.zeros([tf.shape(pictures)[0], rows, columns, 3], tf.uint8)

        monkeypatch.setattr("t2t_lite.data.parse_batch.decode_and_crop", decode)
        monkeypatch.setattr("t2t_lite.data.reading._traced_load", _traced_load.__wrapped__)
        monkeypatch.setattr("t2t_lite.data.reading._THREADS", 1)
        hparams = dataclasses.replace(HPARAMS, batch_max_examples=1)
        dataset = Dataset.open(data_dir, "tiny_pictures")
        for _ in dataset.batches("train", hparams, shuffle=True, repeat=True, skip=28).take(1):
            pass
        assert 1 <= len(decoded) <= 6  # of 29; some are read ahead

    def test_skipping_reads_no_records(self, data_dir, monkeypatch):
        read_records = []
        original = ShardReader.read

        def counted(self, records):
            read_records.extend(records)
            return original(self, records)

        monkeypatch.setattr(ShardReader, "read", counted)
        monkeypatch.setattr("t2t_lite.data.reading._THREADS", 1)
        dataset = Dataset.open(data_dir, "tiny_reverse")
        for _ in dataset.batches("train", HPARAMS, shuffle=True, repeat=True, skip=10**9).take(1):
            pass
        assert 1 <= len(read_records) <= 5 * 16  # some batches are read ahead

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("parts", [2, 3, 20])
    def test_the_parts_of_a_batch_make_the_batch(self, data_dir, name, parts):
        dataset = Dataset.open(data_dir, name)
        arguments = {"shuffle": True, "repeat": True, "seed": 4, "skip": 3}
        whole = list(dataset.batches("train", HPARAMS, **arguments).take(12).as_numpy_iterator())
        shares = [
            list(dataset.batches("train", HPARAMS, **arguments, part=(n, parts)).take(12).as_numpy_iterator())
            for n in range(parts)
        ]
        for n, batch in enumerate(whole):
            for key, value in batch.items():
                np.testing.assert_array_equal(np.concatenate([share[n][key] for share in shares]), value)

    @pytest.mark.parametrize("name", NAMES)
    def test_workers_that_read_their_parts_make_the_shards_of_the_whole_batch(self, data_dir, name):
        dataset = Dataset.open(data_dir, name)
        arguments = {"shuffle": True, "repeat": True, "seed": 4}
        whole = list(dataset.batches("train", HPARAMS, **arguments).take(6))
        workers, shards = 2, 6
        for worker in range(workers):
            part = (worker, workers)
            parts = dataset.batches("train", HPARAMS, **arguments, part=part, shards=shards).take(6)
            for batch, its_part in zip(whole, parts, strict=True):
                for number in range(worker * 3, worker * 3 + 3):
                    own, wanted = shard_batch(its_part, number, shards), shard_batch(batch, number, shards)
                    assert own.keys() == wanted.keys()
                    for key, value in wanted.items():
                        np.testing.assert_array_equal(own[key], value, strict=True)

    def test_the_first_batches_of_a_shuffled_epoch_are_an_even_sample(self, data_dir):
        """Evaluations of some batches use them; the first in the order of the split are the shortest."""
        dataset = Dataset.open(data_dir, "tiny_reverse")
        means = []
        for seed in range(20):
            first = dataset.batches("train", HPARAMS, shuffle=True, seed=seed).take(8)
            means.append(np.mean(np.concatenate([batch["index"] for batch in first])))
        assert 170 < np.mean(means) < 230  # of 400
        assert max(means) - min(means) > 10

    def test_reading_again_and_again_keeps_no_plans(self, data_dir):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        before = len(_readers)
        for _ in range(3):
            next(iter(dataset.batches("dev", HPARAMS).take(1)))
        gc.collect()
        assert len(_readers) <= before

    def test_too_long_examples_are_logged(self, data_dir, caplog):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        dataset.batches("train", HPARAMS, shuffle=True, repeat=True)
        assert f"{dataset.split('train').too_long} of 400 examples are longer" in caplog.text

    def test_training_on_too_long_examples_only_is_an_error(self, data_dir):
        dataset = Dataset.open(data_dir, "tiny_reverse")
        dataset.manifest.splits["train"] = dataclasses.replace(dataset.split("train"), positions={})
        with pytest.raises(UserError, match="longer than the maximum"):
            dataset.batches("train", HPARAMS, repeat=True)


class TestPadding:
    @staticmethod
    def translation(folder, pairs):
        """Writes pairs of lines with lengths distributed like those of sentences and their translations."""
        rng = random.Random(0)
        folder.mkdir()
        for split, number in (("train", pairs), ("dev", 5)):
            lengths = [max(2, round(rng.lognormvariate(2.6, 0.5))) for _ in range(number)]
            others = [max(1, round(length * rng.gauss(1.05, 0.15))) for length in lengths]
            for language, words in (("aa", lengths), ("bb", others)):
                lines = (" ".join(rng.choices("abcdefgh", k=length)) for length in words)
                (folder / f"{split}.{language}").write_text("".join(f"{line}\n" for line in lines))

    def test_at_most_a_tenth_on_translation(self, tmp_path):
        self.translation(tmp_path / "raw", 6000)
        generate(["translate_files.raw"], tmp_path / "data", tmp_path, num_workers=1)
        dataset = Dataset.open(tmp_path / "data", "translate_files.raw")
        hparams = HParams(batch_tokens=1024, batch_max_examples=64)
        batches = read(dataset, "train", hparams, shuffle=True)
        for key in ("inputs", "targets"):
            padding = sum((batch[key] == 0).sum() for batch in batches) / sum(batch[key].size for batch in batches)
            assert padding < 0.1
        assert np.mean([len(batch["index"]) for batch in batches]) > 35

    def test_small_splits_do_not_have_many_small_batches(self, tmp_path):
        self.translation(tmp_path / "raw", 300)
        generate(["translate_files.raw"], tmp_path / "data", tmp_path, num_workers=1)
        hparams = HParams(batch_tokens=1024, batch_max_examples=64)
        batches = read(Dataset.open(tmp_path / "data", "translate_files.raw"), "train", hparams, shuffle=True)
        assert len(batches) <= 14
        assert sum(len(batch["index"]) for batch in batches) == 300


class TestDamage:
    @pytest.fixture
    def copy(self, data_dir, tmp_path):
        for name, content in files_of(data_dir).items():
            (tmp_path / name).write_bytes(content)
        return tmp_path

    def test_missing_and_changed_files_are_named(self, copy):
        shard = copy / "tiny_reverse-train-00002-of-00010"
        content = shard.read_bytes()
        shard.write_bytes(content[:-1])
        with pytest.raises(
            UserError, match=f"{shard.name}: {len(content) - 1} bytes, the manifest says {len(content)}"
        ):
            Dataset.open(copy, "tiny_reverse")
        shard.unlink()
        with pytest.raises(UserError, match=f"{shard.name}: missing.*run t2t-datagen --problem=tiny_reverse"):
            Dataset.open(copy, "tiny_reverse")
        vocabulary_path(copy, "tiny").write_bytes(Vocabulary.train(["red house"], 300).model)
        with pytest.raises(UserError, match=r"vocab.tiny.model: has changed since problem 'tiny_pictures'"):
            Dataset.open(copy, "tiny_pictures")
        vocabulary_path(copy, "tiny").unlink()
        with pytest.raises(UserError, match=r"vocab.tiny.model: missing.*run t2t-datagen"):
            Dataset.open(copy, "tiny_pictures")
        (copy / "tiny_sounds.manifest.json").write_text("{}")
        with pytest.raises(UserError, match="not a manifest"):
            Dataset.open(copy, "tiny_sounds")

    def test_a_damaged_record_is_named_with_file_and_offset(self, copy):
        shard = copy / "tiny_reverse-train-00004-of-00010"
        records = list(read_records(shard))
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 255
        shard.write_bytes(content)
        offsets = [16 * n + sum(map(len, records[:n])) for n in range(len(records))]
        number = max(n for n, offset in enumerate(offsets) if offset <= len(content) // 2)
        message = f"{shard.name}: damaged in record {number}, which begins at byte {offsets[number]}: .*run t2t-datagen"
        with pytest.raises(UserError, match=message):
            read(Dataset.open(copy, "tiny_reverse"), "train")

    @pytest.mark.parametrize("split", ["train", "dev"])
    def test_a_stored_picture_that_cannot_be_decoded_is_named(self, tmp_path, monkeypatch, split):
        """Data of an older version may hold a PNG that Pillow opened and TensorFlow does not."""

        def image_bytes(value, cover):
            content = io.BytesIO()
            PilImage.fromarray(value).save(content, "PNG")
            return content.getvalue()[: 40 if value[0, 0, 0] == 255 else None]

        class Pictures(Problem):
            inputs, targets = Image(4, 4), Label(("a",))
            shards = 2

            def examples(self, name, raw_dir):
                for n in range(30):
                    colour = 255 if (name, n) == (split, 13) else 0
                    yield {"inputs": np.full((4, 4, 3), colour, np.uint8), "targets": "a"}

        monkeypatch.setattr("t2t_lite.data.encoding.image_bytes", image_bytes)
        with registry.problems.temporary():
            registry.problems.register(Pictures)
            generate(["pictures"], tmp_path, tmp_path, num_workers=1)
            dataset = Dataset.open(tmp_path, "pictures")
            place = r"record 6 of .*train-00001-of-00002" if split == "train" else r"record 13 of .*dev-00000-of-00001"
            message = rf"problem 'pictures', split '{split}', stored example 13 \({place}\): TensorFlow cannot decode"
            with pytest.raises(UserError, match=message + ".*: delete .*pictures.manifest.json and run t2t-datagen"):
                read(dataset, split)
            assert read(dataset, "dev" if split == "train" else "train")
            with pytest.raises(
                UserError, match=rf"{place.split(' of ')[1]}: record {place.split()[1]}, inputs: .*not a"
            ):
                verify(tmp_path)

    def test_other_errors_are_raised_as_they_are(self, data_dir):
        with (
            pytest.raises(tf.errors.InvalidArgumentError, match="of the model"),
            Dataset.open(data_dir, "tiny_pictures").reading(),
        ):
            raise tf.errors.InvalidArgumentError(None, None, "of the model")

    def test_unknown_split(self, data_dir):
        with pytest.raises(UserError, match="no split 'test'; it has train, dev"):
            Dataset.open(data_dir, "tiny_reverse").batches("test", HPARAMS)
