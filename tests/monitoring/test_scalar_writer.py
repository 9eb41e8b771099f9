"""scalars.jsonl, TensorBoard's events, sample outputs and profiles of a run, also after it is resumed."""

import io
import json
import math
import re
import resource
import shutil
import wave
from pathlib import Path

import conftest
import numpy as np
import pytest
import tensorflow as tf
from checks import problem
from PIL import Image as PilImage

from t2t_lite.bin import trainer
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.monitoring.monitor import Monitor, padding
from t2t_lite.monitoring.profiler import Profiler
from t2t_lite.monitoring.scalar_writer import ScalarWriter, audio_value, image_value
from t2t_lite.problems import Audio, Image, Label, Text

USR_DIR = conftest.USR_SESSION
NAMES = ["session_reverse", "session_pictures", "session_tones"]


@pytest.fixture(autouse=True, scope="module")
def problems(session_problems):
    return session_problems


@pytest.fixture(scope="module")
def train(session_data):
    """Trains on all three problems, by default to step 6."""

    def train(folder, *flags, status=0):
        shared = [f"--t2t_usr_dir={USR_DIR}", f"--data_dir={session_data}", f"--output_dir={folder}"]
        named = ["--problem=session", "--hparams_set=session_tiny", "--train_steps=6", "--eval_steps=1"]
        assert trainer.main([*shared, *named, *flags]) == status

    return train


@pytest.fixture(scope="module")
def run_dir(train, tmp_path_factory):
    """Two evaluations and a profile; session_reverse is not evaluated."""
    folder = tmp_path_factory.mktemp("scalars") / "run"
    train(folder, "--eval_every=3", "--eval_problems=session_tones,session_pictures", "--profile_steps=5,6")
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]


def events(folder):
    """All events of all files, in the order written."""
    for path in sorted(folder.glob("events.*")):
        yield from tf.compat.v1.train.summary_iterator(str(path))


def values(folder, kind):
    """{(step, tag): value} of a kind: simple_value, histo, image, audio or tensor."""
    return {
        (event.step, value.tag): getattr(value, kind)
        for event in events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == kind
    }


class TestLinesOfARun:
    def test_one_for_each_step_and_for_each_problem_evaluated(self, run_dir):
        found = [(line["step"], line["split"], line["problem"]) for line in lines(run_dir)]
        assert [step for step, split, _ in found if split == "train"] == [1, 2, 3, 4, 5, 6]
        assert sorted(line for line in found if line[1] == "dev") == [
            (step, "dev", name) for step in (3, 6) for name in ("session_pictures", "session_tones")
        ]
        assert [step for step, _, _ in found] == sorted(step for step, _, _ in found)

    def test_have_the_figures_of_the_step(self, run_dir):
        everywhere = {"loss", "accuracy", "log_perplexity", "gradient_norm", "learning_rate", "balance", "rate"}
        everywhere |= {"tokens", "tokens_per_second", "step_seconds", "input_seconds"}
        for line in lines(run_dir):
            if line["split"] == "train":
                assert everywhere <= line.keys()
                assert 0 <= line["input_seconds"] < line["step_seconds"]
                assert line["tokens_per_second"] == pytest.approx(line["tokens"] / line["step_seconds"])
                assert line["learning_rate"] == pytest.approx(4e-3 * min(line["step"] / 10, 1))
                text = {"inputs_padding", "targets_padding"} & line.keys()
                assert len(text) == (0 if line["problem"] == "session_pictures" else 2)
                layers = ["encoder"] if line["problem"] == "session_pictures" else ["encoder", "decoder"]
                for layer in layers:
                    assert 0 < line[f"expert_load/{layer}/most"] <= 1
            else:
                assert {"loss", "accuracy", "accuracy_top5", "examples"} <= line.keys()

    def test_tensorboard_has_the_same(self, run_dir):
        scalars = values(run_dir, "simple_value")
        compared = 0
        for line in lines(run_dir):
            step, split, name = (line.pop(key) for key in ("step", "split", "problem"))
            for key, value in line.items():
                tag = f"{split}/{name}/{key}"
                found = scalars[step, tag if (step, tag) in scalars else f"{split}/{key}"]
                assert found == pytest.approx(value, rel=1e-6)
                compared += 1
        assert compared == len(scalars)
        assert {(step, "train/learning_rate") for step in range(1, 7)} <= scalars.keys()

    def test_samples_are_tables_of_dev_examples(self, run_dir, problems):
        texts = values(run_dir, "tensor")
        expected = [(s, f"dev/{n}/samples") for s in (3, 6) for n in ("session_pictures", "session_tones")]
        assert sorted(texts) == expected
        kinds = (
            ("session_tones", problems.SessionTones, "sound"),
            ("session_pictures", problems.SessionPictures, "picture"),
        )
        for name, declared, kind in kinds:
            table = texts[6, f"dev/{name}/samples"].string_val[0].decode()
            heading, _, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
            assert heading == ["input", "target", "output"]
            dev = list(declared(name).examples("dev", None))
            assert len(rows) == 2
            for given, target, _ in rows:
                number = int(re.match(rf"\({kind} (\d+) of the dev split, ", given)[1])
                assert target == dev[number]["targets"]

    def test_sounds_are_written_once(self, run_dir, problems):
        sounds = values(run_dir, "audio")
        assert {step for step, _ in sounds} == {3} and len(sounds) == 2
        for (_, tag), audio in sounds.items():
            number = int(tag.removeprefix("dev/session_tones/input_"))
            names = list(problems.SessionTones("session_tones").examples("dev", None))[number]["targets"].split()
            with wave.open(io.BytesIO(audio.encoded_audio_string)) as file:
                assert (file.getframerate(), file.getnframes()) == (8000, 1600)
                samples = np.frombuffer(file.readframes(1600), "<i2") / 32768
            np.testing.assert_allclose(samples, problems.tones(names), atol=1e-3)

    def test_pictures_are_written_once(self, run_dir, problems):
        pictures = values(run_dir, "image")
        assert {step for step, _ in pictures} == {3} and len(pictures) == 2
        for (_, tag), image in pictures.items():
            number = int(tag.removeprefix("dev/session_pictures/input_"))
            example = list(problems.SessionPictures("session_pictures").examples("dev", None))[number]
            np.testing.assert_array_equal(PilImage.open(io.BytesIO(image.encoded_image_string)), example["inputs"])

    def test_the_profile_is_written(self, run_dir):
        (path,) = run_dir.glob("plugins/profile/*/*.xplane.pb")
        assert path.stat().st_size > 1000

    def test_the_table_is_saved(self, run_dir):
        saved = json.loads((run_dir / "mixture.json").read_text())
        assert list(saved["problems"]) == NAMES
        assert saved["problems"]["session_reverse"]["epochs"] == pytest.approx(6 / 3 / 38)  # 600 in batches of 16


@pytest.mark.slow
def test_a_resumed_run_has_every_line_once(run_dir, train, tmp_path):
    stopped = tmp_path / "run"
    shutil.copytree(run_dir, stopped)
    for path in (stopped / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    state = stopped / "checkpoints" / "checkpoint"
    state.write_text('model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "ckpt-3"\n')
    with (stopped / "scalars.jsonl").open("a") as file:
        file.write('{"step": 7, "split": "train", "problem": "session_tones", "lo')  # killed while it wrote
    train(stopped, "--eval_every=3", "--eval_problems=session_tones,session_pictures")
    same = ("step", "split", "problem", "loss", "accuracy", "learning_rate")
    before, after = ([[line.get(key) for key in same] for line in lines(f)] for f in (run_dir, stopped))
    assert len(after) == 10
    assert after == before
    restarts = [e.step for e in events(stopped) if e.session_log.status == tf.compat.v1.SessionLog.START]
    assert restarts == [1, 4]  # TensorBoard forgets what earlier files say of this step and later ones


class TestFlagsAreChecked:
    @pytest.mark.parametrize("steps", ["3", "5,3", "0,2", "1,2,3", "a,b", "-1,2", ""])
    def test_profile_steps_of_a_wrong_form(self, train, tmp_path, capsys, steps):
        train(tmp_path, f"--profile_steps={steps}", status=2)
        assert f"--profile_steps={steps}: expected A,B: two whole numbers" in capsys.readouterr().err

    def test_profile_steps_that_are_not_trained(self, tmp_path):
        for steps in ((4, 21), (5, 4), (0, 3)):
            message = f"--profile_steps={steps[0]},{steps[1]}: expected A,B with A <= B among the steps 1 to 20"
            with pytest.raises(UserError, match=message):
                Profiler(tmp_path, steps, start_step=3, train_steps=20)

    def test_profile_steps_done_before_a_resumption_are_ignored(self, tmp_path):
        with Profiler(tmp_path, (3, 9), start_step=3, train_steps=20) as profiler:
            for step in range(4, 21):
                profiler.begin(step)
        assert not list(tmp_path.iterdir())

    def test_a_problem_to_evaluate_that_is_not_trained(self, train, tmp_path, capsys):
        flags = ["--problem=session_tones,session_reverse", "--eval_problems=session_pictures"]
        train(tmp_path, *flags, status=2)
        assert "--eval_problems: 'session_pictures' is not trained here" in capsys.readouterr().err


class TestScalars:
    def test_lines_of_later_steps_are_removed(self, tmp_path):
        with ScalarWriter(tmp_path, 0) as scalars:
            for step in (1, 2, 3):
                scalars.add(step, "train", "one", {"loss": float(step)})
            scalars.add(2000, "train", "one", {"loss": 0.0})
        with ScalarWriter(tmp_path, 2):
            pass
        assert [line["step"] for line in lines(tmp_path)] == [1, 2]
        with ScalarWriter(tmp_path, 0):
            pass
        assert lines(tmp_path) == []

    def test_lines_of_an_evaluation_to_be_repeated_are_removed(self, tmp_path):
        with ScalarWriter(tmp_path, 0) as scalars:
            for step in (1, 2):
                scalars.add(step, "train", "one", {"loss": 1.0})
                scalars.add(step, "dev", "one", {"loss": 1.0})
        with ScalarWriter(tmp_path, 2):
            pass
        assert len(lines(tmp_path)) == 4
        with ScalarWriter(tmp_path, 2, evaluated_step=1):
            pass
        assert [(line["step"], line["split"]) for line in lines(tmp_path)] == [(1, "train"), (1, "dev"), (2, "train")]

    def test_numbers_that_are_not_finite_are_null(self, tmp_path):
        with ScalarWriter(tmp_path, 0) as scalars:
            scalars.add(
                1, "train", "one", {"loss": math.nan, "norm": math.inf, "accuracy": 0.5, "signature": "no number"}
            )
        assert lines(tmp_path) == [
            {"step": 1, "split": "train", "problem": "one", "loss": None, "norm": None, "accuracy": 0.5}
        ]
        assert math.isnan(values(tmp_path, "simple_value")[1, "train/one/loss"])

    def test_a_flush_writes_the_buffer(self, tmp_path):
        with ScalarWriter(tmp_path, 0) as scalars:
            scalars.add(1, "train", "one", {"loss": 1.0})
            assert lines(tmp_path) == []  # not a write a step
            scalars.flush()
            assert [line["step"] for line in lines(tmp_path)] == [1]
            assert (1, "train/one/loss") in values(tmp_path, "simple_value")

    def test_an_error_inside_keeps_the_lines_so_far(self, tmp_path):
        with pytest.raises(RuntimeError, match="out of memory"), ScalarWriter(tmp_path, 0) as scalars:
            scalars.add(1, "train", "one", {"loss": 1.0})
            raise RuntimeError("out of memory")
        assert len(lines(tmp_path)) == 1

    @pytest.mark.parametrize("full", ["scalars.jsonl", "events"])
    def test_a_full_disk_is_an_error_in_one_line(self, tmp_path, full):
        """Limits files to 2000 bytes, which thirty long numbers exceed in JSON and a picture in events."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        message = rf"{tmp_path}/{full}.*: cannot write: .*make room"
        with pytest.raises(UserError, match=message) as e, ScalarWriter(tmp_path, 0) as scalars:
            for step in range(30 if full == "scalars.jsonl" else 0):
                scalars.add(step, "train", "one", {"x": 1 / 3})
            if full == "events":
                noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
                scalars.add_values(1, [image_value("noise", noise)])
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
            try:
                scalars.flush()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(str(e.value).splitlines()) == 1

    def test_a_picture_and_a_sound_read_back_unchanged(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
        sound = np.random.default_rng(1).integers(-32768, 32768, 50).astype(np.float32) / 32768
        with ScalarWriter(tmp_path, 0) as scalars:
            scalars.add_values(4, [image_value("picture", pixels), audio_value("sound", sound, 8000)])
        image = values(tmp_path, "image")[4, "picture"]
        assert (image.height, image.width) == (5, 7)
        np.testing.assert_array_equal(PilImage.open(io.BytesIO(image.encoded_image_string)), pixels)
        audio = values(tmp_path, "audio")[4, "sound"]
        with wave.open(io.BytesIO(audio.encoded_audio_string)) as file:
            np.testing.assert_array_equal(np.frombuffer(file.readframes(50), "<i2") / 32768, sound)


def test_padding_of_a_batch():
    text, rate = Text("words", 30), 1000
    batch = {
        "inputs": tf.zeros([3, 100]),
        "inputs_length": tf.constant([100, 50, 30]),
        "targets": tf.constant([[5, 6, 7, 1], [5, 1, 0, 0], [1, 0, 0, 0]]),
    }
    speech = Dataset(problem("speech", Audio(rate), text), None, {}, Path())
    assert padding(speech, batch) == pytest.approx({"inputs_padding": 1 - 180 / 300, "targets_padding": 5 / 12})
    classes = Dataset(problem("classes", Image(8, 8), Label(("a", "b"))), None, {}, Path())
    assert padding(classes, {"inputs": tf.zeros([2, 8, 8, 3]), "targets": tf.zeros([2], tf.int32)}) == {}


def test_expert_loads_are_written_by_layer_and_problem(tmp_path, session_data):
    dataset = Dataset.open(session_data, "session_pictures")
    (batch,) = dataset.batches("dev", HParams()).take(1)
    with Monitor(tmp_path, 0, 2, {"session_pictures": dataset}) as monitor:
        for step in (1, 2):
            load = {"encoder": np.array([6.0, 2.0, 0.0, 0.0]), "decoder": np.array([2.0, 2.0])}
            figures = {"loss": 1.0, "expert_load": load}
            monitor.step(step, "session_pictures", batch, figures)
        monitor.evaluation(2, {})
    line = lines(tmp_path)[0]
    where = "expert_load/encoder"
    assert (line[f"{where}/least"], line[f"{where}/most"]) == (0.0, 0.75)
    assert line[f"{where}/variation"] == pytest.approx(np.std([6, 2, 0, 0]) / 2)
    assert line["expert_load/decoder/variation"] == 0.0
    bars = values(tmp_path, "histo")
    assert {tag for _, tag in bars} == {f"train/session_pictures/expert_load/{layer}" for layer in load}
    assert list(bars[2, "train/session_pictures/expert_load/encoder"].bucket) == [12, 4, 0, 0]  # of both steps
