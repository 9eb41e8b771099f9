"""Generation that is killed, that meets broken examples, a full disk or a damaged folder."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import conftest
import numpy as np
import pytest

from t2t_lite import registry
from t2t_lite.bin import datagen
from t2t_lite.data.manifest import Manifest
from t2t_lite.data.reading import Dataset
from t2t_lite.data.records import DamageError, frame_record, read_records
from t2t_lite.datagen import disk, encode_examples
from t2t_lite.datagen.generate import generate
from t2t_lite.datagen.reservoir_sample import ReservoirSample
from t2t_lite.datagen.shard_store import number_of_shards
from t2t_lite.datagen.split_stats import SplitStats
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems import Label, Problem, Text

USR_DIR = conftest.USR


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The data of two problems, generated at one go."""
    folder = tmp_path_factory.mktemp("whole")
    generate(["tiny_reverse", "tiny_sounds"], folder, "no raw files", num_workers=1)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of them, to be damaged."""
    return shutil.copytree(whole, tmp_path / "copy")


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Kills itself when it has called the disk so many times, again and again, until it comes through.
KILLED = """
import os, pathlib, random, signal, sys
from t2t_lite import registry
from t2t_lite.datagen import generate, shard_store
registry.import_usr_dirs([sys.argv[1]])
shard_store._FLUSH_SECONDS = 0
draw, kills, status = random.Random(int(sys.argv[3])), 0, 1
while status:
    calls = draw.randint(1, 150)
    child = os.fork()
    if not child:
        def counted(call):
            def wrapper(*args, **kwargs):
                global calls
                calls -= 1
                if not calls:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)
            return wrapper
        calls_to_the_disk = [(os, "fsync"), (os, "replace"), (os, "truncate")]
        for owner, name in [*calls_to_the_disk, (pathlib.Path, "unlink"), (pathlib.Path, "open")]:
            setattr(owner, name, counted(getattr(owner, name)))
        generate.generate(["tiny_reverse", "tiny_sounds"], sys.argv[2], "no raw files", num_workers=1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    kills += status != 0
    final = {path.name for path in pathlib.Path(sys.argv[2]).glob("*-of-*") if "incomplete" not in path.name}
    for manifest in pathlib.Path(sys.argv[2]).glob("*.manifest.json"):
        problem = manifest.name.partition(".")[0]
        assert len([name for name in final if name.startswith(problem)]) == 11, (problem, final)
print(kills)
"""


class TestKilled:
    def test_at_any_call_to_the_disk(self, whole, tmp_path):
        command = [sys.executable, "-c", KILLED, USR_DIR, str(tmp_path / "data"), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        assert int(done.stdout) >= 5
        assert "resuming after" in done.stderr
        assert files_of(tmp_path / "data") == files_of(whole)

    def test_with_its_workers_at_any_moment(self, whole, tmp_path):
        """And no worker outlives it."""
        (tmp_path / "usr").mkdir()
        often = "from t2t_lite.datagen import shard_store\n\nshard_store._FLUSH_SECONDS = 0\n"
        (tmp_path / "usr" / "often.py").write_text(often)
        command = [sys.executable, "-m", "t2t_lite.bin.datagen", f"--t2t_usr_dir={USR_DIR},{tmp_path}/usr"]
        command += [f"--data_dir={tmp_path}/data", "--problem=tiny_reverse,tiny_sounds", "--num_workers=2"]
        draw = random.Random(3)
        for _ in range(3):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
            for line in process.stderr:
                if "first pass" in line:
                    break
            time.sleep(draw.uniform(0, 1.0))
            process.send_signal(signal.SIGKILL)
            assert "Traceback" not in process.communicate(timeout=20)[1]  # which the workers' ends wait for, too
        assert subprocess.run(command, check=False).returncode == 0
        generated = files_of(tmp_path / "data")
        assert not [name for name in generated if "incomplete" in name]
        for name, content in files_of(whole).items():
            assert generated[name] == content, name

    def test_only_what_is_missing_is_converted_again(self, tmp_path, monkeypatch, tiny_problems):
        monkeypatch.setattr("t2t_lite.datagen.shard_store._FLUSH_SECONDS", 0)
        converted, fails_at = [], 280

        class Interrupted(tiny_problems.TinyReverse):
            def convert(self, item):
                converted.append(item["inputs"])
                if len(converted) == fails_at:
                    raise KeyboardInterrupt
                return item

        with registry.problems.temporary():
            registry.problems.register(Interrupted)
            generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)  # the vocabulary
            with pytest.raises(KeyboardInterrupt):
                generate(["interrupted"], tmp_path, tmp_path, num_workers=1)
            fails_at = 0
            generate(["interrupted"], tmp_path, tmp_path, num_workers=1)
        # 32 for the look at the disk, 490 examples, and those of the part that was interrupted, and of the one before
        # it if that was not stored yet.
        assert 32 + 490 < len(converted) <= 32 + 490 + 2 * 32
        splits = [Manifest.load(tmp_path, name).splits for name in ("interrupted", "tiny_reverse")]
        for split in ("train", "dev"):
            crcs = [[shard.crc32 for shard in found[split].shards] for found in splits]
            assert crcs[0] == crcs[1]

    def test_another_declaration_starts_anew(self, tmp_path, monkeypatch, tiny_problems):
        monkeypatch.setattr("t2t_lite.datagen.shard_store._FLUSH_SECONDS", 0)
        examples = tiny_problems.TinySounds.examples

        dev = []

        def interrupted(self, split, raw_dir):
            if split == "dev":
                dev.append(self)
                if len(dev) > 1:  # at the first time there is a look whether there are any
                    raise KeyboardInterrupt
            return examples(self, split, raw_dir)

        monkeypatch.setattr(tiny_problems.TinySounds, "examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert [path for path in files_of(tmp_path) if path.endswith("progress.incomplete")]
        monkeypatch.setattr(tiny_problems.TinySounds, "examples", lambda *given: list(examples(*given))[:7])
        monkeypatch.setattr(tiny_problems.TinySounds, "version", "2")
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert Dataset.open(tmp_path, "tiny_sounds").split("train").examples == 7
        assert not [name for name in files_of(tmp_path) if "incomplete" in name or "00010" in name]

    def test_changed_files_of_the_user_start_anew(self, tmp_path, monkeypatch):
        monkeypatch.setattr("t2t_lite.datagen.shard_store._FLUSH_SECONDS", 0)
        raw, lines = tmp_path / "raw", [f"the lazy dog jumped {number} times" for number in range(300)]
        raw.mkdir()

        def write(**more):
            for name, first in {"train.de": 0, "train.en": 0, "dev.de": 100, "dev.en": 100, **more}.items():
                (raw / name).write_text("\n".join(lines[first:]) + "\n", encoding="utf8")

        write()
        encode, calls = encode_examples.encode, []

        def interrupted(spec, split, items):
            calls.append(split)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return encode(spec, split, items)

        monkeypatch.setattr(encode_examples, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(["translate_files"], tmp_path / "data", raw, num_workers=1)
        assert [name for name in files_of(tmp_path / "data") if name.endswith("progress.incomplete")]
        write(**{"train.de": 10, "train.en": 10})
        generate(["translate_files"], tmp_path / "data", raw, num_workers=1)
        assert Dataset.open(tmp_path / "data", "translate_files").split("train").examples == 290

    def test_two_at_once_are_refused(self, tmp_path, tiny_problems):
        with (
            disk.lock_folder(tmp_path),
            pytest.raises(UserError, match=f"another t2t-datagen is running in {tmp_path}"),
        ):
            generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)
        assert not files_of(tmp_path)
        generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)


class TestMaxBad:
    @pytest.fixture
    def translation(self, tmp_path):
        """Writes 1,000 pairs of which some lines are no UTF-8."""

        def write(*bad):
            raw = tmp_path / "raw"
            raw.mkdir(exist_ok=True)
            for split, number in (("train", 1000), ("dev", 10)):
                for language, word in (("de", "Haus"), ("en", "house")):
                    lines = [f"{word} {n % 37}".encode() for n in range(number)]
                    for n in bad if split == "train" and language == "de" else ():
                        lines[n] = b"\xff\xfe"
                    (raw / f"{split}.{language}").write_bytes(b"\n".join(lines) + b"\n")
            return raw

        return write

    def test_a_few_are_left_out_and_named(self, tmp_path, translation, capsys):
        raw = translation(70)
        for workers in (1, 2):
            generate(["translate_files"], tmp_path / str(workers), raw, num_workers=workers)
        assert files_of(tmp_path / "1") == files_of(tmp_path / "2")
        report = tmp_path / "1" / "translate_files.broken.tsv"
        assert report.read_text().startswith(f"train\t70\t{raw}/train.de:71: not UTF-8 (")
        assert f"translate_files: 1 broken examples were left out; {report} names them" in capsys.readouterr().err
        dataset = Dataset.open(tmp_path / "1", "translate_files")
        assert (dataset.split("train").examples, dataset.split("train").broken) == (999, 1)
        with dataset.reading():
            batches = list(dataset.batches("train", HParams(batch_tokens=500)))
        rows = {
            int(i): ids for batch in batches for i, ids in zip(batch["index"], batch["targets"].numpy(), strict=True)
        }
        decode = dataset.vocabularies["subwords"].decode
        assert [decode(rows[i]) for i in range(999)] == [f"house {n % 37}" for n in range(1000) if n != 70]

    def test_too_many_stop_it(self, tmp_path, translation):
        raw = translation(70, 500)
        told = (
            r"train.de:71: not UTF-8 .* \(2 of 1,000 examples of split 'train' are broken, --max_bad=0.1% allows fewer"
        )
        with pytest.raises(UserError, match=told):
            generate(["translate_files"], tmp_path / "data", raw, num_workers=1)
        report = tmp_path / "data" / "translate_files.broken.tsv"
        assert list(files_of(tmp_path / "data")) == [report.name]
        assert [line.split(":")[1] for line in report.read_text().splitlines()] == ["71", "501"]
        flags = ["--problem=translate_files", f"--data_dir={tmp_path}/data", f"--tmp_dir={raw}", "--num_workers=1"]
        assert datagen.main([*flags, "--max_bad=0.2%"]) == 0
        assert len(report.read_text().splitlines()) == 2
        translation()  # mended
        (tmp_path / "data" / "translate_files.manifest.json").unlink()
        assert datagen.main([*flags, "--max_bad=0"]) == 0
        assert not report.exists()

    @pytest.mark.parametrize("yielded", [False, True])
    @pytest.mark.parametrize("targets", [Text(vocab="new"), Label(), Label(classes=("a", "b"))])
    def test_garbage_stops_it_early(self, tmp_path, targets, yielded):
        """Whatever the first look is for."""
        seen = []

        class Garbage(Problem):
            inputs = Label(classes=("a", "b"))

            def examples(self, split, raw_dir):
                for number in range(30_000):
                    if yielded:
                        seen.append(number)
                    yield UserError("garbage") if yielded else number

            def convert(self, item):
                seen.append(item)
                raise ValueError("garbage")

        Garbage.targets = targets
        with registry.problems.temporary():
            registry.problems.register(Garbage)
            with pytest.raises(UserError, match=r"garbage \(\d+ of \d+ examples of split 'train' so far are broken"):
                generate(["garbage"], tmp_path, tmp_path, num_workers=1)
        assert len(seen) < 300

    def test_splits_that_were_done_are_held_to_it_too(self, tmp_path, translation, monkeypatch):
        raw = translation(*range(100, 200))
        encode = encode_examples.encode

        def interrupted(spec, split, items):
            if split == "dev":
                raise KeyboardInterrupt
            return encode(spec, split, items)

        monkeypatch.setattr(encode_examples, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(["translate_files"], tmp_path / "data", raw, num_workers=1, max_bad=0.5)
        monkeypatch.setattr(encode_examples, "encode", encode)
        with pytest.raises(UserError, match=r"100 of 1,000 examples of split 'train' are broken, --max_bad=1%"):
            generate(["translate_files"], tmp_path / "data", raw, num_workers=1, max_bad=0.01)

    @pytest.mark.parametrize("value", ["2", "-1%", "few", "101%"])
    def test_shares_that_are_none(self, value, capsys):
        assert datagen.main([f"--max_bad={value}", "--problem=x", "--data_dir=y"]) == 2
        assert f"--max_bad={value}: expected a fraction" in capsys.readouterr().err


class TestOddExamples:
    @pytest.fixture
    def make(self, tmp_path):
        """Generates a problem of some examples by some workers."""

        def make(examples, inputs, workers=1, **attributes):
            given = examples

            class Odd(Problem):
                targets = Label(classes=("a", "b"))

                def examples(self, split, raw_dir):
                    for value in given:
                        yield {"inputs": value, "targets": "a"}

            Odd.inputs = inputs
            for name, value in attributes.items():
                setattr(Odd, name, value)
            with registry.problems.temporary():
                registry.problems.register(Odd)
                generate(["odd"], tmp_path, tmp_path, num_workers=workers, max_bad=0.3)
                return Dataset.open(tmp_path, "odd")

        return make

    def test_half_of_a_surrogate_pair_is_left_out(self, make, tmp_path):
        dataset = make(["one", "tw\ud83d", "three", lambda: "fo\udc00r", lambda: "five", "six", "seven"], Text())
        assert dataset.split("train").examples == 5
        told = (tmp_path / "odd.broken.tsv").read_text().splitlines()[:2]
        assert "character 3 of the text is half of a surrogate pair" in told[0] and "character 3" in told[1]

    def test_a_text_may_be_made_late_and_counts_for_the_vocabulary(self, make):
        dataset = make([lambda: "zebra zebra zebra"] * 40, Text())
        vocabulary = dataset.vocabularies["subwords"]
        assert len(vocabulary.encode("zebra")) == 1

    def test_names_of_classes_must_be_text(self, make):
        with pytest.raises(UserError, match="inputs: class names must be text, not list"):
            make([["a"]], Label())

    def test_names_of_splits_must_be_plain(self, make):
        with pytest.raises(UserError, match="split 'dev-clean': a name may have letters, digits and _"):
            make(["a"], Label(), splits=("train", "dev-clean"))

    def test_a_new_size_of_a_vocabulary_is_not_passed_over(self, make, tmp_path):
        make(["some text"] * 9, Text(vocab_size=300))
        with pytest.raises(UserError, match=r"400 by 'odd', 300 by 'odd' \(stored .*delete .*vocab.subwords.model to"):
            make(["some text"] * 9, Text(vocab_size=400))
        (tmp_path / "vocab.subwords.model").unlink()
        make(["some text"] * 9, Text(vocab_size=400))


def test_large_examples_make_shards_before_there_are_many_of_them():
    assert number_of_shards(SplitStats(examples=100, bytes=1000), 10) == 10
    assert number_of_shards(SplitStats(examples=99, bytes=1000), 10) == 1
    assert number_of_shards(SplitStats(examples=99, bytes=1 << 30), 10) == 10
    assert number_of_shards(SplitStats(examples=9, bytes=1 << 30), 10) == 1


class TestVerify:
    def verify(self, capsys, folder, *flags):
        status = datagen.main(["--verify", f"--data_dir={folder}", f"--t2t_usr_dir={USR_DIR}", *flags])
        told = capsys.readouterr()
        return status, told.out, told.err

    @pytest.fixture(autouse=True)
    def no_import(self, monkeypatch):
        monkeypatch.setattr(registry, "import_usr_dirs", lambda folders: None)  # they are

    def test_whole(self, whole, capsys):
        lines = "tiny_reverse: complete: 11 files, 490 examples\ntiny_sounds: complete: 11 files, 130 examples\n"
        assert self.verify(capsys, whole) == (0, lines, "")
        assert self.verify(capsys, whole, "--problem=tiny_sounds")[:2] == (0, lines.splitlines(True)[1])

    def test_what_is_wrong_is_named(self, copy, capsys):
        names = [f"tiny_reverse-train-0000{n}-of-00010" for n in range(5)]
        content = bytearray((copy / names[0]).read_bytes())
        first = len(next(read_records(copy / names[0]))) + 16
        content[first + 20] ^= 1
        (copy / names[0]).write_bytes(content)
        (copy / names[1]).write_bytes((copy / names[1]).read_bytes()[:-3])
        (copy / names[2]).unlink()
        (copy / names[3]).write_bytes((copy / names[4]).read_bytes())
        (copy / "tiny_reverse-train-00010-of-00011").write_bytes(b"")
        (copy / "other-train-00000-of-00001").write_bytes(b"")
        status, out, err = self.verify(capsys, copy)
        assert (status, out) == (1, "")
        wrong = [f"{names[0]}: damaged in record 1, which begins at byte {first}", f"{names[1]}: "]
        wrong += [f"{names[2]}: missing", f"{names[3]}: ", "00010-of-00011: extra", "other-train-00000-of-00001: extra"]
        for phrase in wrong:
            assert phrase in err
        assert "t2t-datagen: error: " in err.splitlines()[-1]
        assert "(and 5 more, listed above)" in err.splitlines()[-1]
        assert self.verify(capsys, copy, "--problem=tiny_sounds")[0] == 0

    def test_vocabularies_and_manifests(self, copy, capsys):
        model = bytearray((copy / "vocab.tiny.model").read_bytes())
        (copy / "vocab.tiny.model").write_bytes(model[:-1])
        assert "vocab.tiny.model: " in self.verify(capsys, copy)[2]
        (copy / "vocab.tiny.model").write_bytes(model)
        path = copy / "tiny_reverse.manifest.json"
        stored = json.loads(path.read_text())
        stored["splits"]["dev"]["examples"] += 1
        path.write_text(json.dumps(stored))
        assert "says 91 examples of split 'dev', the files have 90" in self.verify(capsys, copy)[2]
        path.write_text("{")
        assert "tiny_reverse.manifest.json: not a manifest" in self.verify(capsys, copy)[2]
        path.unlink()
        assert "tiny_reverse-dev-00000-of-00001: extra" in self.verify(capsys, copy)[2]

    def test_an_empty_folder(self, tmp_path, capsys):
        assert self.verify(capsys, tmp_path)[0] == 1
        assert self.verify(capsys, tmp_path / "none")[0] == 1


class TestDisk:
    def test_too_little_space_is_told_before(self, tmp_path, monkeypatch, whole):
        needs = Manifest.load(whole, "tiny_sounds").splits["train"].bytes
        free = needs // 2
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))
        with pytest.raises(
            UserError, match=r"--data_dir: .* has [\d.]+ kB free, and .* about [\d.]+ kB \(tiny_sounds "
        ):
            generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert not files_of(tmp_path)
        free = 2 * needs
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)

    def test_the_estimate_is_near(self, tmp_path, monkeypatch, whole):
        told = {}
        monkeypatch.setattr("t2t_lite.datagen.generate.check_space", lambda _, needed: told.update(needed))
        names = ["tiny_reverse", "tiny_sounds"]
        generate(names, tmp_path, tmp_path, num_workers=1)
        for name in names:
            needs = Manifest.load(whole, name).splits["train"].bytes
            assert 0.8 < told[name] / needs < 1.25


def test_a_known_count_spares_the_pass(tmp_path, monkeypatch, tiny_problems):
    taken = []

    class Counted(tiny_problems.TinySounds):
        targets = tiny_problems.Label(classes=("go", "no", "yes"))

        def examples(self, split, raw_dir):
            for item in super().examples(split, raw_dir):
                taken.append(split)
                yield item

        def count(self, split, raw_dir):
            return 120

    with registry.problems.temporary():
        registry.problems.register(Counted)
        generate(["counted"], tmp_path, tmp_path, num_workers=1)
    assert taken.count("train") == 1 + 32 + 120  # is there any, how large are they, all


class TestSample:
    def test_is_even_bounded_and_whatever_the_order_the_same(self):
        sizes = [random.Random(n).randint(1, 9) for n in range(5000)]

        def sampled(numbers):
            sample = ReservoirSample(1000)
            for n in numbers:
                if sample.wants(n):
                    sample.add(n, sizes[n], n)
            return sample

        kept = list(sampled(range(5000)))
        assert 990 <= sum(sizes[n] for n in kept) <= 1000
        assert kept == sorted(kept)
        np.testing.assert_allclose(np.quantile(kept, [0.25, 0.5, 0.75]), [1250, 2500, 3750], atol=350)
        shuffled = random.Random(0).sample(range(5000), 5000)
        assert list(sampled(shuffled)) == kept
        first, second = sampled(shuffled[:2000]), sampled(shuffled[2000:])
        first.merge(second)
        assert list(first) == kept

    def test_small_ones_are_kept_whole(self):
        sample = ReservoirSample(100)
        for n in range(50):
            sample.add(n, 2, n)
        assert list(sample) == list(range(50))
        assert len(sample) == 50


class TestRecords:
    def test_tensorflow_reads_them(self, tmp_path):
        import tensorflow as tf

        records = [os.urandom(n) for n in (0, 1, 5, 300, 100_000)]
        path = tmp_path / "records"
        path.write_bytes(b"".join(map(frame_record, records)))
        assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == records
        assert list(read_records(path)) == records

    def test_any_flipped_byte_is_found_where_it_is(self, tmp_path):
        records = [b"one", b"two and", b"three"]
        content = b"".join(map(frame_record, records))
        starts = [0, 19, 42]
        path = tmp_path / "records"
        for place in range(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= 16
            path.write_bytes(damaged)
            with pytest.raises(DamageError) as told:
                list(read_records(path))
            assert told.value.offset == max(start for start in starts if start <= place)
            assert starts[told.value.number] == told.value.offset
