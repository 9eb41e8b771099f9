"""Bad input to the commands gives one clear line on standard error and exit status 1, and leaves no partial files."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from types import SimpleNamespace

import conftest
import numpy as np
import pytest
import soundfile
from PIL import Image as PilImage

from t2t_lite.bin import datagen, decoder, trainer
from t2t_lite.bin import eval as evaluator
from t2t_lite.data.reading import Dataset
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run

USR_DIR = conftest.USR_SESSION
RATES = {"session_pictures": 0.5, "session_tones": 0.5}


@pytest.fixture(autouse=True, scope="module")
def problems(session_problems):
    return session_problems


@pytest.fixture(scope="module")
def run_template(session_data, session_problems, tmp_path_factory):
    """A run on pictures and tones with a checkpoint of fresh weights."""
    folder = tmp_path_factory.mktemp("template") / "run"
    hparams = dataclasses.replace(session_problems.session_tiny(), num_experts=2)
    datasets = {name: Dataset.open(session_data, name) for name in RATES}
    run = Run.create(folder, hparams, "multi_model", datasets, RATES)
    Checkpoints(folder, run.build_model()).save(4)
    return folder


@pytest.fixture
def data(session_data, tmp_path):
    """A copy of the data, to be damaged."""
    shutil.copytree(session_data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def run_dir(run_template, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(run_template, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """Calls a command with tmp_path's data and run; it must fail with one line that holds all the phrases."""

    def fails(command, *flags, phrases, status=1, usr_dir=USR_DIR):
        before = files_of(tmp_path)
        shared = [f"--t2t_usr_dir={usr_dir}", f"--data_dir={tmp_path}/data"]
        if command is not datagen:
            shared.append(f"--output_dir={tmp_path}/run")
        assert command.main([*shared, *flags]) == status
        output = capsys.readouterr()
        assert output.out == ""
        *progress, line = output.err.splitlines()
        assert re.match(r"t2t-\w+: error: ", line), output.err
        # Before it there are only status lines, none of TensorFlow or Python.
        assert all(
            re.match(
                r"[\w.]+(, \w+)?: |vocabulary '|problem +examples |\w+ +[\d,]+ +[\d.]+% |building graphs |step \d+ of ",
                said,
            )
            and "rror" not in said
            for said in progress
        ), output
        for phrase in phrases:
            assert phrase in line
        changed = {path for path, content in files_of(tmp_path).items() if before.get(path) != content}
        # Vocabularies and problems that were complete before the error stay.
        assert not [path for path in changed if "incomplete" in path or "unfinished" in path]
        return changed

    return fails


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def raw(tmp_path, **files):
    """Writes raw/mine/NAME for each file; `__` in a name stands for a slash, `_` for a dot."""
    for name, content in files.items():
        path = tmp_path / "raw" / "mine" / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf8"))
    return f"--tmp_dir={tmp_path}/raw"


class TestDatagen:
    def test_unknown_names(self, fails):
        unknown = ["unknown problem or mixture 'session_revers'; did you mean 'session_reverse'"]
        assert not fails(datagen, "--problem=session_revers", phrases=unknown)

    def test_translation_files_that_are_not_aligned(self, fails, tmp_path):
        folder = raw(tmp_path, train_de="eins\nzwei\ndrei\n", train_en="one\ntwo\n", dev_de="eins\n", dev_en="one\n")
        told = ["train.de has 3 lines", "train.en has 2", "train.de:3"]
        assert not fails(datagen, folder, "--problem=translate_files.mine", phrases=told)

    def test_a_line_without_a_partner(self, fails, tmp_path):
        folder = raw(tmp_path, train_de="eins\n\n", train_en="one\ntwo\n", dev_de="eins\n", dev_en="one\n")
        told = ["train.de:2: empty", "train.en"]
        assert not fails(datagen, folder, "--problem=translate_files.mine", phrases=told)

    def test_a_line_that_is_not_utf8(self, fails, tmp_path):
        folder = raw(
            tmp_path, train_de="eins\nf\xfcnf\n".encode("latin1"), train_en="one\nfive\n", dev_de="eins", dev_en="one"
        )
        told = ["train.de:2: not UTF-8"]
        assert not fails(datagen, folder, "--problem=translate_files.mine", phrases=told)

    def test_missing_raw_files(self, fails, tmp_path):
        told = ["no folder", "raw/mine", "train.SRC"]
        flags = [f"--tmp_dir={tmp_path}/raw", "--problem=translate_files.mine"]
        assert not fails(datagen, *flags, phrases=told)

    def test_a_file_that_is_not_a_picture(self, fails, tmp_path, problems):
        folder = raw(tmp_path, train__red__a_png="no picture", dev__red__b_png="no picture")
        told = ["problem 'image_folder.mine', split 'train', example 0", "a.png: not a readable picture"]
        for workers in (1, 2):
            flags = [folder, "--problem=image_folder.mine", f"--num_workers={workers}"]
            assert not fails(datagen, *flags, phrases=told)

    def test_no_examples(self, fails, monkeypatch, problems, tmp_path):
        monkeypatch.setattr(problems.SessionPictures, "examples", lambda *_: iter(()))
        told = ["problem 'session_pictures': split 'train' has no examples"]
        assert not fails(datagen, "--problem=session_pictures", "--num_workers=1", phrases=told)

    def test_splits_that_training_needs_are_missing(self, fails, monkeypatch, problems, tmp_path):
        flags = ["--problem=session_pictures", "--num_workers=1"]
        monkeypatch.setattr(problems.SessionPictures, "splits", ("training", "dev"))
        told = ["problem 'session_pictures': splits are ('training', 'dev'); the first must be 'train'"]
        assert not fails(datagen, *flags, phrases=told)
        monkeypatch.setattr(problems.SessionPictures, "splits", ("train",))
        assert datagen.main([*flags, f"--data_dir={tmp_path}/data"]) == 0
        told = ["problem 'session_pictures' has no split 'dev'; it has train"]
        fails(trainer, "--problem=session_pictures", *TRAIN, phrases=told)

    def test_an_example_of_the_wrong_kind(self, fails, monkeypatch, problems, tmp_path):
        monkeypatch.setattr(problems.SessionPictures, "convert", lambda *_: {"inputs": problems.picture("red")})
        told = ["problem 'session_pictures', split 'train', example 0: not a dict with 'inputs' and 'targets'"]
        flags, report = ["--problem=session_pictures", "--num_workers=1"], "data/session_pictures.broken.tsv"
        assert fails(datagen, *flags, phrases=[*told, f"{tmp_path}/{report} names them"]) == {report}
        green = {"inputs": problems.picture("red"), "targets": "green"}
        monkeypatch.setattr(problems.SessionPictures, "convert", lambda *_: green)
        told = ["example 0, targets: no class 'green'", "'blue', 'red'"]
        assert fails(datagen, *flags, phrases=told) == {report}

    def test_a_data_dir_that_is_a_file(self, fails, tmp_path):
        (tmp_path / "data").write_text("")
        assert not fails(datagen, "--problem=session_pictures", phrases=["--data_dir", "data"])


class TestUsrDir:
    def test_a_module_that_fails_shows_its_own_line(self, fails, tmp_path):
        (tmp_path / "usr").mkdir()
        (tmp_path / "usr" / "usr_helper.py").write_text("def number(text):\n    return int(text)\n")
        (tmp_path / "usr" / "usr_problem.py").write_text("from usr_helper import number\n\nnumber('three')\n")
        told = [f"{tmp_path}/usr/usr_helper.py:2: ValueError", "'three'"]
        for command in (datagen, trainer, evaluator, decoder):
            fails(command, "--problem=x", phrases=told, usr_dir=tmp_path / "usr")
            sys.modules.pop("usr_helper")

    def test_a_name_that_is_taken(self, fails, tmp_path):
        (tmp_path / "usr").mkdir()
        module = "from t2t_lite import registry\n\n@registry.problems.register\nclass MicroworldImage:\n    pass\n"
        (tmp_path / "usr" / "usr_taken.py").write_text(module)
        told = ["usr_taken.py:3: ValueError: problem 'microworld_image' is already registered"]
        fails(datagen, "--problem=x", phrases=told, usr_dir=tmp_path / "usr")


TRAIN = ["--hparams_set=session_tiny", "--train_steps=5"]


class TestData:
    """Data that the trainer refuses; nothing is trained, and no folder is left."""

    def train(self, fails, *flags, phrases):
        return fails(trainer, "--problem=session_pictures", *TRAIN, *flags, phrases=phrases)

    def test_no_folder(self, fails, tmp_path):
        assert not self.train(fails, phrases=[f"--data_dir: no folder '{tmp_path}/data'; t2t-datagen makes it"])

    def test_not_generated(self, fails, tmp_path):
        (tmp_path / "data").mkdir()
        told = ["'session_pictures' has no data in", "run t2t-datagen --problem=session_pictures --data_dir="]
        assert not self.train(fails, phrases=told)

    def test_a_shard_is_missing(self, fails, data):
        (data / "session_pictures-train-00003-of-00010").unlink()
        told = ["session_pictures-train-00003-of-00010: missing", "run t2t-datagen"]
        assert not self.train(fails, phrases=told)

    def test_a_shard_is_cut(self, fails, data):
        path = data / "session_pictures-train-00003-of-00010"
        path.write_bytes(path.read_bytes()[:-1])
        assert not self.train(fails, phrases=["session_pictures-train-00003-of-00010: ", "bytes", "run t2t-datagen"])

    def test_a_shard_is_damaged(self, fails, data):
        path = data / "session_pictures-train-00003-of-00010"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        told = ["session_pictures-train-00003-of-00010: damaged", "delete it and run t2t-datagen"]
        self.train(fails, phrases=told)

    def test_the_manifest_is_damaged(self, fails, data):
        (data / "session_pictures.manifest.json").write_text("{")
        assert not self.train(fails, phrases=["session_pictures.manifest.json: not a manifest", "run t2t-datagen"])

    def test_a_vocabulary_is_missing_or_damaged(self, fails, data):
        (data / "vocab.session.model").write_text("no vocabulary")
        flags = ["--problem=session_tones", *TRAIN]
        assert not fails(trainer, *flags, phrases=["vocab.session.model: not a vocabulary; delete it"])
        (data / "vocab.session.model").unlink()
        assert not fails(trainer, *flags, phrases=["vocab.session.model: missing", "run t2t-datagen"])

    def test_all_examples_are_too_long(self, fails, data):
        path = data / "session_tones.manifest.json"
        manifest = json.loads(path.read_text())
        manifest["splits"]["train"]["positions"] = {}
        path.write_text(json.dumps(manifest))
        told = ["problem 'session_tones': all examples of split 'train' are longer than the maximum"]
        fails(trainer, "--problem=session_tones", *TRAIN, phrases=told)

    def test_no_such_split(self, fails, data, run_dir):
        told = ["problem 'session_pictures' has no split 'tests'; it has train, dev"]
        fails(evaluator, "--problem=session_pictures", "--split=tests", phrases=told)


class TestRun:
    """Run folders that the commands refuse."""

    def test_other_hparams_and_problems_are_listed(self, fails, data, run_dir):
        told = ["holds a run with other settings", "dropout is 0.2, was 0.0", "seed is 3, was 0", "--output_dir"]
        told += ["problems are session_pictures 1, were session_pictures 0.5, session_tones 0.5"]
        flags = ["--problem=session_pictures", *TRAIN, "--hparams=dropout=0.2,seed=3"]
        assert not fails(trainer, *flags, phrases=told)

    def test_a_schedule_that_ended_names_the_flags_that_train_on(self, fails, data, run_dir):
        stored = json.loads((run_dir / "hparams.json").read_text())
        (run_dir / "hparams.json").write_text(json.dumps(stored | {"schedule": "linear", "decay_steps": 4}))
        told = ["decay_steps is 5, was 4", "(schedule=linear) reaches 0 at step 4", f"--warm_start_from={run_dir} "]
        told += [f"--output_dir={run_dir}-2 --train_steps=1"]
        flags = ["--problem=session_pictures,session_tones", *TRAIN, "--hparams=schedule=linear"]
        assert not fails(trainer, *flags, phrases=told)

    def test_settings_can_change_before_the_first_checkpoint(self, fails, data, tmp_path):
        flags = ["--problem=session_pictures", *TRAIN]
        fails(trainer, *flags, "--hparams=image_strides=5", phrases=["image_strides=5"])
        folder, datasets = tmp_path / "run", {"session_pictures": Dataset.open(data, "session_pictures")}
        for seed in (1, 2):
            hparams = dataclasses.replace(registered_hparams(), seed=seed)
            Run.create(folder, hparams, "multi_model", datasets, {"session_pictures": 1.0})
            assert Run.open(folder).hparams == hparams

    def test_another_vocabulary_than_the_one_trained_with(self, fails, data, run_dir):
        stored = json.loads((run_dir / "run.json").read_text())
        stored["vocabularies"]["session"]["checksum"] = "0" * 64
        (run_dir / "run.json").write_text(json.dumps(stored))
        told = ["vocabulary 'session' of problem 'session_tones'", "differs from the one that", f"{run_dir}"]
        for command, flag in ((evaluator, "--split=dev"), (decoder, "--show=1")):
            fails(command, "--problem=session_tones", flag, phrases=told)
        flags = ["--problem=session_pictures,session_tones", *TRAIN]
        assert not fails(trainer, *flags, phrases=["vocabulary 'session' differs from the one trained with"])

    def test_other_records_than_those_trained_on(self, fails, data, run_dir):
        stored = json.loads((run_dir / "run.json").read_text())
        stored["data"]["session_tones"] = "0" * 8
        (run_dir / "run.json").write_text(json.dumps(stored))
        flags = ["--problem=session_pictures,session_tones", *TRAIN]
        fails(trainer, *flags, phrases=["with other settings: the records of problem 'session_tones' are not those"])

    def test_other_gin_bindings(self, fails, data, run_dir):
        with (run_dir / "operative_config.gin").open("a") as file:
            file.write("\n# a comment\nmine.width = 3\n")
        flags = ["--problem=session_pictures,session_tones", *TRAIN]
        fails(trainer, *flags, phrases=["with other settings: gin had 'mine.width = 3'. Give the same"])

    def test_a_problem_that_was_not_trained(self, fails, data, run_dir):
        told = ["'session_reverse' was not trained in", "it holds session_pictures, session_tones"]
        fails(evaluator, "--problem=session_reverse", phrases=told)
        fails(decoder, "--problem=session_reverse", "--show=1", phrases=told)

    def test_no_run_or_a_damaged_one(self, fails, data, run_dir):
        flags = ["--problem=session_pictures"]
        (run_dir / "hparams.json").write_text("[1]")
        fails(evaluator, *flags, phrases=["hparams.json: cannot read the hparams of the run"])
        (run_dir / "hparams.json").unlink()
        fails(evaluator, *flags, phrases=["hparams.json: cannot read the hparams of the run"])
        (run_dir / "run.json").write_text('{"model": "multi_model"}')
        fails(evaluator, *flags, phrases=["run.json: not a run's description"])
        (run_dir / "run.json").write_text("half")
        fails(evaluator, *flags, phrases=["run.json: not a run's description"])
        (run_dir / "run.json").unlink()
        fails(evaluator, *flags, phrases=["--output_dir: no run in", "t2t-trainer"])

    def test_no_checkpoint_or_a_damaged_one(self, fails, data, run_dir):
        flags = ["--problem=session_pictures"]
        (path,) = (run_dir / "checkpoints").glob("*.data-*")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        told = [f"{run_dir}/checkpoints: all checkpoints are damaged", "ckpt-4 is damaged", path.name]
        for command, flag in ((evaluator, "--split=dev"), (decoder, "--show=1")):
            fails(command, *flags, flag, phrases=told)
        shutil.rmtree(run_dir / "checkpoints")
        for command, flag in ((evaluator, "--split=dev"), (decoder, "--show=1")):
            fails(command, *flags, flag, phrases=["--output_dir: no checkpoint in", "train first"])

    def test_an_output_dir_that_is_a_file(self, fails, data, tmp_path):
        (tmp_path / "run").write_text("")
        fails(trainer, "--problem=session_pictures", *TRAIN, phrases=[f"{tmp_path}/run"])
        fails(evaluator, "--problem=session_pictures", phrases=["--output_dir: no folder"])


class TestOutputs:
    """Links as output files, and JSON of numbers that are not finite."""

    def test_scores_go_through_a_link_and_are_json(self, tmp_path, monkeypatch):
        scores = {"step": 1, "teacher_forced": ["loss"], "problems": {"p": {"examples": 1, "loss": float("nan")}}}
        run = SimpleNamespace(evaluate=lambda *_, **__: scores)
        monkeypatch.setattr("t2t_lite.api.open_run", lambda *_, **__: run)
        for folder in ("data", "run"):
            (tmp_path / folder).mkdir()
        (tmp_path / "real").write_text("old")
        (tmp_path / "link").symlink_to("real")
        flags = [f"--data_dir={tmp_path}/data", f"--output_dir={tmp_path}/run", f"--json_out={tmp_path}/link"]
        assert evaluator.main(["--problem=session_pictures", *flags]) == 0
        assert (tmp_path / "link").is_symlink()
        stored = json.loads((tmp_path / "real").read_text(), parse_constant=pytest.fail)
        assert stored == {"step": 1, "teacher_forced": ["loss"], "problems": {"p": {"examples": 1, "loss": None}}}


class TestDecoder:
    """Inputs that the decoder refuses; it writes no file of answers."""

    def decode(self, fails, tmp_path, problem, content, phrases):
        (tmp_path / "in").write_bytes(content if isinstance(content, bytes) else content.encode("utf8"))
        files = [f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
        assert not fails(decoder, f"--problem={problem}", *files, phrases=phrases)
        assert not (tmp_path / "out").exists()

    def test_pictures(self, fails, data, run_dir, tmp_path):
        (tmp_path / "text.png").write_text("no picture")
        for path in ("none.png", "text.png"):
            told = [f"{tmp_path}/{path}: not a readable picture", f"{tmp_path}/in:1"]
            self.decode(fails, tmp_path, "session_pictures", f"{tmp_path}/{path}\n", told)

    def test_sounds(self, fails, data, run_dir, tmp_path):
        (tmp_path / "text.wav").write_text("no sound")
        with wave.open(f"{tmp_path}/empty.wav", "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
        for path, told in (
            ("none.wav", "none.wav: cannot be read: No such file or directory"),
            ("text.wav", "text.wav: not a readable sound file"),
            ("empty.wav", "empty.wav: a sound file without samples"),
        ):
            self.decode(fails, tmp_path, "session_tones", f"{tmp_path}/{path}\n", [told, f"{tmp_path}/in:1"])

    def test_an_empty_line_is_named(self, fails, data, run_dir, tmp_path):
        PilImage.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "good.png")
        told = [f"{tmp_path}/in:2: empty; expected the path of a picture"]
        self.decode(fails, tmp_path, "session_pictures", f"{tmp_path}/good.png\n\n{tmp_path}/good.png\n", told)

    @pytest.mark.parametrize("path", ["~nobody-of-that-name/a.png", "a\0b.png", "x" * 300])
    def test_impossible_paths(self, fails, data, run_dir, tmp_path, path):
        self.decode(fails, tmp_path, "session_pictures", f"{path}\n", [f"{tmp_path}/in:1: "])
        self.decode(fails, tmp_path, "session_tones", f"{path}\n", [f"{tmp_path}/in:1: "])

    def test_a_picture_that_tensorflow_cannot_decode(self, fails, data, run_dir, tmp_path):
        """Pillow does not need the chunk after the pixels."""
        PilImage.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "good.png")
        content = (tmp_path / "good.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(content[: content.rindex(b"IEND") - 4])
        lines = f"{tmp_path}/good.png\n{tmp_path}/cut.png\n"
        self.decode(fails, tmp_path, "session_pictures", lines, [f"{tmp_path}/in:2: "])

    def test_odd_names_of_files(self, data, run_dir, tmp_path, monkeypatch, capsys):
        names = ["a[1].png", "b*.png", "c {d}.png", "-e.png", " f'\".png", "zwölf.png", "$HOME.png"]
        for name in names:
            PilImage.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "-in [1]").write_text("".join(f"{name}\n" for name in names), encoding="utf8")
        flags = [f"--data_dir={data}", f"--output_dir={run_dir}", "--decode_from_file=-in [1]"]
        assert decoder.main(["--problem=session_pictures", *flags, "--decode_to_file=-out*"]) == 0
        assert len((tmp_path / "-out*").read_text().splitlines()) == len(names)

    def test_a_file_for_which_pillow_raises_an_unusual_error(self, fails, data, run_dir, tmp_path):
        (tmp_path / "a.ppm").write_bytes(b"P6\n30 \x8230\n255\n" + bytes(99))
        told = [f"{tmp_path}/in:1: ", "a.ppm: not a readable picture"]
        self.decode(fails, tmp_path, "session_pictures", f"{tmp_path}/a.ppm\n", told)

    def test_a_sound_with_nan_samples(self, fails, data, run_dir, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.full(99, np.nan), 8000, "FLOAT")
        told = [f"{tmp_path}/in:1: ", "a.wav: a sound file with samples that are not finite"]
        self.decode(fails, tmp_path, "session_tones", f"{tmp_path}/a.wav\n", told)

    def test_a_seed_that_is_too_large(self, fails, data, run_dir, tmp_path):
        flags = ["--problem=session_reverse", "--show=1", "--decode_hparams=sampling=true,seed=99999999999999999999"]
        fails(decoder, *flags, phrases=["seed=99999999999999999999: must fit into 64 bits"])

    def test_files(self, fails, data, run_dir, tmp_path):
        flags = ["--problem=session_pictures", f"--decode_to_file={tmp_path}/out"]
        told = [f"--decode_from_file: no file '{tmp_path}/in'"]
        fails(decoder, *flags, f"--decode_from_file={tmp_path}/in", phrases=told)
        self.decode(fails, tmp_path, "session_pictures", "f\xfcnf".encode("latin1"), ["in: not UTF-8 text"])
        flags = ["--problem=session_pictures", f"--decode_from_file={tmp_path}/in"]
        told = [f"--decode_to_file: cannot write '{tmp_path}/no/out': no such folder"]
        fails(decoder, *flags, f"--decode_to_file={tmp_path}/no/out", phrases=told)
        told = [f"--decode_to_file: '{tmp_path}/in' is the file that --decode_from_file reads"]
        fails(decoder, *flags, f"--decode_to_file={tmp_path}/in", phrases=told)
        flags = ["--problem=session_tones", f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
        told = ["--brackets: problem 'session_tones' does not answer a sentence with its tree"]
        fails(decoder, *flags, "--brackets", phrases=told)


def registered_hparams():
    return sys.modules["session_problems"].session_tiny()


def test_a_process_prints_one_line_alone(session_data, tmp_path):
    """TensorFlow, which is imported before the error, would print lines of its own."""
    (tmp_path / "run").mkdir()
    shared = [f"--t2t_usr_dir={USR_DIR}", f"--data_dir={session_data}", f"--output_dir={tmp_path}/run"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-m", "t2t_lite.bin.eval", *shared, "--problem=session_pictures"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"t2t-eval: error: --output_dir: no run in .*\n", done.stderr), done.stderr
