"""Datagen: resuming after a kill, the error budget, odd examples, --verify, disk space, sampling, record files."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import numpy as np
import pytest
from PIL import Image as PilImage

from t2t_lite import registry
from t2t_lite.bin import datagen, inspect
from t2t_lite.data import encoding
from t2t_lite.data.manifest import Manifest, Shard
from t2t_lite.data.reading import Dataset
from t2t_lite.data.records import DamageError, frame_record, read_records
from t2t_lite.datagen import disk, encode_examples
from t2t_lite.datagen.generate import generate
from t2t_lite.datagen.reservoir_sample import ReservoirSample
from t2t_lite.datagen.shard_store import SplitProgress, number_of_shards
from t2t_lite.datagen.split_stats import SplitStats
from t2t_lite.datagen.worker_pool import WorkerPool
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems import Audio, Label, Problem, Text

USR_DIR = conftest.USR


@pytest.fixture(autouse=True, scope="module")
def problems(tiny_problems):
    return tiny_problems


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """The data of two problems, generated without interruption."""
    folder = tmp_path_factory.mktemp("complete")
    generate(["tiny_reverse", "tiny_sounds"], folder, "no raw files", num_workers=1)
    return folder


@pytest.fixture
def copy(complete, tmp_path):
    """A copy of that data, for tests that damage it."""
    return shutil.copytree(complete, tmp_path / "copy")


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Starts generation again and again, killing it after a random number of disk calls, until it completes.
KILLED = """
import os, pathlib, random, signal, sys
from t2t_lite import registry
from t2t_lite.datagen import generate, shard_store
registry.import_usr_dirs([sys.argv[1]])
shard_store._FLUSH_SECONDS = 0
rng, kills, status = random.Random(int(sys.argv[3])), 0, 1
while status:
    calls = rng.randint(1, 150)
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
        disk_calls = [(os, "fsync"), (os, "replace"), (os, "truncate")]
        for owner, name in [*disk_calls, (pathlib.Path, "unlink"), (pathlib.Path, "open")]:
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
    def test_resumes_after_a_kill_at_any_disk_call(self, complete, tmp_path):
        command = [sys.executable, "-c", KILLED, USR_DIR, str(tmp_path / "data"), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        assert int(done.stdout) >= 5
        assert "resuming after" in done.stderr
        assert files_of(tmp_path / "data") == files_of(complete)

    def test_resumes_after_a_kill_with_workers_at_any_time(self, complete, tmp_path):
        """No worker outlives the main process."""
        (tmp_path / "usr").mkdir()
        flush_often = "from t2t_lite.datagen import shard_store\n\nshard_store._FLUSH_SECONDS = 0\n"
        (tmp_path / "usr" / "flush_often.py").write_text(flush_often)
        command = [sys.executable, "-m", "t2t_lite.bin.datagen", f"--t2t_usr_dir={USR_DIR},{tmp_path}/usr"]
        command += [f"--data_dir={tmp_path}/data", "--problem=tiny_reverse,tiny_sounds", "--num_workers=2"]
        rng = random.Random(3)
        for _ in range(3):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
            for line in process.stderr:
                if "first pass" in line:
                    break
            time.sleep(rng.uniform(0, 1.0))
            process.send_signal(signal.SIGKILL)
            assert "Traceback" not in process.communicate(timeout=20)[1]  # returns once the workers have ended too
        assert subprocess.run(command, check=False).returncode == 0
        generated = files_of(tmp_path / "data")
        assert not [name for name in generated if "incomplete" in name]
        for name, content in files_of(complete).items():
            assert generated[name] == content, name

    def test_resuming_converts_only_missing_examples(self, tmp_path, monkeypatch, tiny_problems):
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
        # 32 to estimate the size, 490 examples, and again those of the interrupted part, and of the part before it if
        # that was not flushed yet.
        assert 32 + 490 < len(converted) <= 32 + 490 + 2 * 32
        splits = [Manifest.load(tmp_path, name).splits for name in ("interrupted", "tiny_reverse")]
        for split in ("train", "dev"):
            crcs = [[shard.crc32 for shard in stored[split].shards] for stored in splits]
            assert crcs[0] == crcs[1]

    def test_a_changed_declaration_restarts(self, tmp_path, monkeypatch, tiny_problems):
        monkeypatch.setattr("t2t_lite.datagen.shard_store._FLUSH_SECONDS", 0)
        examples = tiny_problems.TinySounds.examples

        dev = []

        def interrupted(self, split, raw_dir):
            if split == "dev":
                dev.append(self)
                if len(dev) > 1:  # the first call checks that the split is not empty
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

    def test_changed_user_files_restart(self, tmp_path, monkeypatch):
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

    def test_a_second_process_in_the_folder_is_refused(self, tmp_path, tiny_problems):
        with (
            disk.lock_folder(tmp_path),
            pytest.raises(UserError, match=f"another t2t-datagen is running in {tmp_path}"),
        ):
            generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)
        assert not files_of(tmp_path)
        generate(["tiny_reverse"], tmp_path, tmp_path, num_workers=1)

    def test_a_complete_problem_keeps_the_shards_that_another_process_writes(self, copy):
        shard = copy / "tiny_reverse-test-00000-of-00001.incomplete"
        shard.write_bytes(b"half")
        with disk.lock_folder(copy):
            generate(["tiny_reverse"], copy, copy, num_workers=1)
            assert shard.exists()
        generate(["tiny_reverse"], copy, copy, num_workers=1)
        assert not shard.exists()


class TestMaxBad:
    @pytest.fixture
    def translation(self, tmp_path):
        """Writes 1,000 pairs, some lines of which are not UTF-8."""

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

    def test_a_few_broken_examples_are_left_out_and_reported(self, tmp_path, translation, capsys):
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

    def test_too_many_broken_examples_stop_generation(self, tmp_path, translation):
        raw = translation(70, 500)
        message = (
            r"train.de:71: not UTF-8 .* \(2 of 1,000 examples of split 'train' are broken, "
            r"--max_bad=0.1% allows 1; .*names them\)"
        )
        with pytest.raises(UserError, match=message):
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
    def test_only_broken_examples_stop_generation_early(self, tmp_path, targets, yielded):
        """Whatever the first pass is for."""
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

    def test_the_budget_applies_to_splits_done_before_an_interruption(self, tmp_path, translation, monkeypatch):
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
        """Generates a problem from values of its inputs."""

        def make(values, inputs, **attributes):

            class Odd(Problem):
                targets = Label(classes=("a", "b"))

                def examples(self, split, raw_dir):
                    for value in values:
                        yield {"inputs": value, "targets": "a"}

            Odd.inputs = inputs
            for name, attribute in attributes.items():
                setattr(Odd, name, attribute)
            with registry.problems.temporary():
                registry.problems.register(Odd)
                generate(["odd"], tmp_path, tmp_path, num_workers=1, max_bad=0.3)
                return Dataset.open(tmp_path, "odd")

        return make

    def test_a_lone_surrogate_is_a_broken_example(self, make, tmp_path):
        dataset = make(["one", "tw\ud83d", "three", lambda: "fo\udc00r", lambda: "five", "six", "seven"], Text())
        assert dataset.split("train").examples == 5
        message = (tmp_path / "odd.broken.tsv").read_text().splitlines()[:2]
        assert "character 3 of the text is half of a surrogate pair" in message[0] and "character 3" in message[1]

    def test_a_text_given_by_a_function_counts_for_the_vocabulary(self, make):
        dataset = make([lambda: "zebra zebra zebra"] * 40, Text())
        vocabulary = dataset.vocabularies["subwords"]
        assert len(vocabulary.encode("zebra")) == 1

    def test_class_names_must_be_text(self, make):
        with pytest.raises(UserError, match="inputs: class names must be text, not list"):
            make([["a"]], Label())

    def test_split_names_must_be_plain(self, make):
        with pytest.raises(UserError, match="split 'dev-clean': a name may have letters, digits and _"):
            make(["a"], Label(), splits=("train", "dev-clean"))

    def test_a_changed_vocabulary_size_is_an_error(self, make, tmp_path):
        make(["some text"] * 9, Text(vocab_size=300))
        with pytest.raises(UserError, match=r"400 by 'odd', 300 by 'odd' \(stored .*delete .*vocab.subwords.model to"):
            make(["some text"] * 9, Text(vocab_size=400))
        (tmp_path / "vocab.subwords.model").unlink()
        make(["some text"] * 9, Text(vocab_size=400))


class TestOddNames:
    """Folders whose names are patterns, look like flags, or are not UTF-8; and what cannot be written as JSON."""

    @pytest.mark.parametrize(
        "name", ["run[1]", "*?{a,b}", "-dash \"quote' $x", "Häuser 日本", b"not utf8 \xff", "a\x1bb\n"]
    )
    def test_folders(self, tmp_path, name, capsys):
        folder = os.fsdecode(os.fsencode(tmp_path) + b"/" + (name if isinstance(name, bytes) else name.encode()))
        raw, data = os.path.join(folder, "raw"), os.path.join(folder, "data")
        os.makedirs(raw)
        for split in ("train", "dev"):
            for language in ("de", "en"):
                lines = [b"house %d" % n for n in range(1000)]
                if language == "de" and split == "train":
                    lines[7] = b"\xff"
                with open(os.path.join(raw, f"{split}.{language}"), "wb") as file:
                    file.write(b"\n".join(lines))
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")
        flags = ["--problem=translate_files", f"--data_dir={data}"]
        assert datagen.main([*flags, f"--tmp_dir={raw}", "--num_workers=1"]) == 0
        assert datagen.main([*flags, f"--tmp_dir={raw}", "--num_workers=1"]) == 0
        assert datagen.main(["--verify", f"--data_dir={data}"]) == 0
        assert inspect.main(flags) == 0
        assert "examples" in capsys.readouterr().out
        dataset = Dataset.open(data, "translate_files")
        with dataset.reading():
            batches = list(dataset.batches("train", HParams(batch_tokens=500), shuffle=True))
        assert sum(len(batch["index"]) for batch in batches) == 999
        content = (Path(data) / "translate_files.manifest.json").read_bytes().decode("utf8")
        assert json.loads(content)["source"]["raw_dir"] == raw
        report = (Path(data) / "translate_files.broken.tsv").read_bytes().decode("utf8")
        assert "train.de:8: not UTF-8" in report and report.count("\n") == 1
        os.truncate(Path(data) / "translate_files-train-00003-of-00010", 100)
        assert datagen.main(["--verify", f"--data_dir={data}"]) == 1
        with pytest.raises(UserError, match="00003-of-00010: 100 bytes, "), dataset.reading():
            list(dataset.batches("train", HParams(batch_tokens=500)))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
    def test_a_declaration_that_json_cannot_hold(self, tmp_path, value):
        class Odd(Problem):
            inputs, targets = Audio(max_seconds=value), Label(("a",))

        with registry.problems.temporary():
            registry.problems.register(Odd)
            with pytest.raises(UserError, match="problem 'odd': its declaration cannot be written as JSON"):
                generate(["odd"], tmp_path, tmp_path, num_workers=1)
        assert not files_of(tmp_path)


class TestBrokenPictures:
    def test_are_left_out_and_reported(self, tmp_path, monkeypatch, capsys):
        """Whatever the check of pictures refuses; the rest is generated and verified."""
        image_bytes = encoding.image_bytes

        def checked(value, cover):
            if value.name == "3.png":
                raise UserError(f"{value}: not a readable PNG or JPEG picture (no IEND chunk)")
            return image_bytes(value, cover)

        for split, number in (("train", 40), ("dev", 3)):
            (tmp_path / "raw" / split / "a").mkdir(parents=True)
            for n in range(number):
                PilImage.new("RGB", (8, 8)).save(tmp_path / "raw" / split / "a" / f"{n}.png")
        monkeypatch.setattr(encoding, "image_bytes", checked)
        flags = ["--problem=image_folder", f"--tmp_dir={tmp_path}/raw", f"--data_dir={tmp_path}/data", "--max_bad=5%"]
        assert datagen.main([*flags, "--num_workers=1"]) == 0
        split, _, reason = (tmp_path / "data" / "image_folder.broken.tsv").read_text().split("\t")
        assert split == "train" and "train/a/3.png: not a readable PNG or JPEG picture (no IEND chunk)" in reason
        assert Manifest.load(tmp_path / "data", "image_folder").splits["train"].broken == 1
        capsys.readouterr()
        assert datagen.main(["--verify", f"--data_dir={tmp_path}/data"]) == 0
        assert capsys.readouterr().out == "image_folder: complete: 2 files, 42 examples\n"


class TestWorkerPool:
    def test_the_number_of_workers_is_limited(self, capsys):
        processors = WorkerPool().number
        assert WorkerPool(1).number == 1
        assert capsys.readouterr().err == ""
        assert WorkerPool(9999).number == 4 * processors
        assert capsys.readouterr().err.startswith(f"--num_workers=9999: starting {4 * processors}, the most for ")


def test_progress_files_keep_their_keys():
    progress = SplitProgress(7, SplitStats(3, 99), [(4, "bad")], [Shard("x", 1, 2)])
    stored = json.loads(json.dumps(progress.to_dict()))
    assert list(stored) == ["items", "broken", "shards", "done", "tally"]
    assert SplitProgress.from_dict(stored) == progress


def test_number_of_shards():
    assert number_of_shards(SplitStats(examples=100, bytes=1000), 10) == 10
    assert number_of_shards(SplitStats(examples=99, bytes=1000), 10) == 1
    assert number_of_shards(SplitStats(examples=99, bytes=1 << 30), 10) == 10
    assert number_of_shards(SplitStats(examples=9, bytes=1 << 30), 10) == 1


class TestVerify:
    def verify(self, capsys, folder, *flags):
        status = datagen.main(["--verify", f"--data_dir={folder}", f"--t2t_usr_dir={USR_DIR}", *flags])
        output = capsys.readouterr()
        return status, output.out, output.err

    @pytest.fixture(autouse=True)
    def no_import(self, monkeypatch):
        monkeypatch.setattr(registry, "import_usr_dirs", lambda folders: None)  # imported by the fixture `problems`

    def test_complete_data(self, complete, capsys):
        lines = "tiny_reverse: complete: 11 files, 490 examples\ntiny_sounds: complete: 11 files, 130 examples\n"
        assert self.verify(capsys, complete) == (0, lines, "")
        assert self.verify(capsys, complete, "--problem=tiny_sounds")[:2] == (0, lines.splitlines(True)[1])

    def test_faults_are_named(self, copy, capsys):
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
        faults = [f"{names[0]}: damaged in record 1, which begins at byte {first}", f"{names[1]}: "]
        faults += [
            f"{names[2]}: missing",
            f"{names[3]}: ",
            "00010-of-00011: extra",
            "other-train-00000-of-00001: extra",
        ]
        for phrase in faults:
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
    def test_too_little_space_is_an_error_before_the_first_record(self, tmp_path, monkeypatch, complete):
        needs = Manifest.load(complete, "tiny_sounds").splits["train"].bytes
        free = needs // 2
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))
        with pytest.raises(
            UserError, match=r"--data_dir: .* has [\d.]+ kB free, and .* about [\d.]+ kB \(tiny_sounds "
        ):
            generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)
        assert not files_of(tmp_path)
        free = 2 * needs
        generate(["tiny_sounds"], tmp_path, tmp_path, num_workers=1)

    def test_the_estimate_is_close(self, tmp_path, monkeypatch, complete):
        estimated = {}
        monkeypatch.setattr("t2t_lite.datagen.generate.check_space", lambda _, needed: estimated.update(needed))
        names = ["tiny_reverse", "tiny_sounds"]
        generate(names, tmp_path, tmp_path, num_workers=1)
        for name in names:
            needs = Manifest.load(complete, name).splits["train"].bytes
            assert 0.8 < estimated[name] / needs < 1.25


def test_a_known_count_saves_a_pass(tmp_path, monkeypatch, tiny_problems):
    read = []

    class Counted(tiny_problems.TinySounds):
        targets = tiny_problems.Label(classes=("go", "no", "yes"))

        def examples(self, split, raw_dir):
            for item in super().examples(split, raw_dir):
                read.append(split)
                yield item

        def count(self, split, raw_dir):
            return 120

    with registry.problems.temporary():
        registry.problems.register(Counted)
        generate(["counted"], tmp_path, tmp_path, num_workers=1)
    assert read.count("train") == 1 + 32 + 120  # the check for an empty split, the estimate of sizes, all


class TestReservoirSample:
    def test_is_uniform_bounded_and_independent_of_order(self):
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

    def test_a_small_stream_is_kept_completely(self):
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

    def test_any_flipped_byte_is_located(self, tmp_path):
        records = [b"one", b"two and", b"three"]
        content = b"".join(map(frame_record, records))
        starts = [0, 19, 42]
        path = tmp_path / "records"
        for offset in range(len(content)):
            damaged = bytearray(content)
            damaged[offset] ^= 16
            path.write_bytes(damaged)
            with pytest.raises(DamageError) as raised:
                list(read_records(path))
            assert raised.value.offset == max(start for start in starts if start <= offset)
            assert starts[raised.value.number] == raised.value.offset
