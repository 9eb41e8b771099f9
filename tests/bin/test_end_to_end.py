"""A small session through the commands: train, resume, evaluate, decode."""

import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
import wave
from dataclasses import replace

import conftest
import numpy as np
import pytest
import tensorflow as tf
from checks import stored_tensors
from PIL import Image as PilImage

from t2t_lite.bin import decoder, trainer
from t2t_lite.bin import eval as evaluator
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.evaluation import metrics
from t2t_lite.evaluation.evaluate import evaluate
from t2t_lite.evaluation.report import format_report
from t2t_lite.hparams import HParams
from t2t_lite.problems import trees
from t2t_lite.runs.run import Run

USR_DIR = conftest.USR_SESSION
NAMES = ["session_reverse", "session_pictures", "session_tones"]


@pytest.fixture(autouse=True, scope="module")
def problems(session_problems):
    return session_problems


@pytest.fixture(scope="module")
def call(session_data):
    """Calls a command's main with the shared flags; it must succeed."""

    def call(command, output_dir, *flags):
        shared = [f"--t2t_usr_dir={USR_DIR}", f"--data_dir={session_data}", f"--output_dir={output_dir}"]
        assert command.main([*shared, *flags]) == 0

    return call


@pytest.fixture(scope="module")
def run_dir(call, tmp_path_factory):
    """A run on all problems to step 6, with a checkpoint at step 3 as well, its evaluations decoded."""
    folder = tmp_path_factory.mktemp("run") / "new" / "run"
    flags = ["--problem=session", "--hparams_set=session_tiny", "--hparams=seed=2", "--train_steps=6"]
    call(trainer, folder, *flags, "--eval_every=3", "--eval_steps=1", "--eval_decoded")
    return folder


@pytest.fixture(scope="module")
def learned(call, tmp_path_factory):
    """A run that has learned to reverse."""
    folder = tmp_path_factory.mktemp("learned")
    call(trainer, folder, "--problem=session_reverse", "--hparams_set=session_tiny", "--train_steps=110")
    return folder


class TestRunFolder:
    def test_keeps_the_hparams_and_a_gin_file_that_sets_them(self, run_dir, monkeypatch, tmp_path):
        hparams = HParams.load(run_dir / "hparams.json")
        assert (hparams.hidden_size, hparams.seed) == (32, 2)
        seen = []
        monkeypatch.setattr("t2t_lite.training.dry_run.dry_run", lambda hparams, **_: seen.append(hparams))
        flags = ["--problem=session_reverse", "--hparams_set=multimodel_base", f"--data_dir={tmp_path}", "--dry_run"]
        gin_file = f"--gin_file={run_dir}/operative_config.gin"
        assert trainer.main([f"--t2t_usr_dir={USR_DIR}", *flags, gin_file]) == 0
        assert seen == [hparams]

    def test_describes_model_problems_and_vocabularies(self, run_dir):
        stored = json.loads((run_dir / "run.json").read_text())
        assert stored["model"] == "multi_model"
        assert list(stored["problems"]) == NAMES
        assert stored["rates"] == pytest.approx(dict.fromkeys(NAMES, 1 / 3))
        assert stored["vocabularies"]["session"]["size"] == 280

    def test_has_scalars_for_tensorboard(self, run_dir):
        (path,) = run_dir.glob("events.*")
        tags = set()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            tags |= {(event.step, value.tag) for value in event.summary.value}
        for name in NAMES:
            assert any((step, f"train/{name}/loss") in tags for step in range(1, 7))
            assert {(3, f"dev/{name}/accuracy"), (6, f"dev/{name}/accuracy")} <= tags
        assert {(step, "train/learning_rate") for step in range(1, 7)} <= tags

    def test_every_weight_of_a_joint_run_has_moved(self, run_dir):
        fresh = Run.open(run_dir).build_model()
        started = {variable.path: variable.numpy() for variable in fresh.trainable_variables}
        from t2t_lite.runs.checkpoints import Checkpoints

        assert Checkpoints(run_dir, fresh).restore_weights() == 6
        for variable in fresh.trainable_variables:
            value = variable.numpy()
            assert np.isfinite(value).all(), variable.path
            # Not every row: only the embeddings of pieces seen and the experts chosen have moved.
            assert (value != started[variable.path]).any(), f"{variable.path} is what it was"


@pytest.mark.slow
def test_a_resumed_run_equals_one_never_stopped(run_dir, call, tmp_path, capsys):
    stopped = tmp_path / "run"
    shutil.copytree(run_dir, stopped)
    for path in (stopped / "checkpoints").glob("ckpt-6.*"):
        path.unlink()
    flags = ["--problem=session", "--hparams_set=session_tiny", "--hparams=seed=2", "--train_steps=6"]
    call(trainer, stopped, *flags, "--eval_steps=1")
    assert "resuming from step 3" in capsys.readouterr().err
    expected, found = stored_tensors(run_dir, 6), stored_tensors(stopped, 6)
    assert expected.keys() == found.keys()
    assert len(found) > 300  # weights and both moments
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_finished_run_is_left_unchanged(run_dir, call, capsys):
    flags = ["--problem=session", "--hparams_set=session_tiny", "--hparams=seed=2", "--train_steps=6"]
    before = {path: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()}
    call(trainer, run_dir, *flags)
    assert "step 6 is reached already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()} == before


def test_eval_decoded_adds_metrics_of_decoded_answers(run_dir):
    lines = [json.loads(line) for line in (run_dir / "scalars.jsonl").read_text().splitlines()]
    found = [line for line in lines if line["split"] == "dev" and line["problem"] == "session_reverse"]
    assert [line["step"] for line in found] == [3, 6]
    assert all(line["wer"] > 0 and 0 <= line["answers_cut"] <= line["examples"] for line in found)


def test_scores_as_json_and_as_a_table(run_dir, call, tmp_path, capsys):
    call(evaluator, run_dir, "--problem=session", f"--json_out={tmp_path}/scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores) == ["step", "teacher_forced", "problems"] and scores["step"] == 6
    assert list(scores["problems"]) == NAMES
    everywhere = {"loss", "log_perplexity", "accuracy", "accuracy_per_sequence", "accuracy_top5"}
    assert set(scores["teacher_forced"]) == everywhere
    everywhere.add("examples")
    decoded = {"wer", "answers_cut", "answers_empty"}
    for name, figures in scores["problems"].items():
        assert figures.keys() == everywhere | (decoded if name == "session_reverse" else set())
        assert type(figures["examples"]) is int and figures["examples"] == 20  # the whole split
        assert 0 <= figures.pop("answers_empty", 0) + figures.pop("answers_cut", 0) <= 2 * figures.pop("examples")
        assert all(type(value) is float and math.isfinite(value) for value in figures.values())
        assert all(0 <= value <= 1 for key, value in figures.items() if key.startswith("accuracy"))
        assert figures["loss"] > 0
    shown = capsys.readouterr().out
    assert shown.startswith("step 6\n\nteacher-forced: ")
    for name in NAMES:
        assert re.search(rf"^{name} +20 +\d+\.\d{{3}} ", shown, re.MULTILINE)


def test_answers_are_scored_against_uncut_targets(run_dir, session_data, problems, monkeypatch):
    run = Run.open(run_dir)
    datasets = run.open_datasets(session_data, ["session_reverse"])
    problem = datasets["session_reverse"].problem
    monkeypatch.setattr(problem, "targets", replace(problem.targets, max_length=3))
    stored = datasets["session_reverse"].split("dev")
    monkeypatch.setattr(stored, "too_long", 20)
    seen = []
    monkeypatch.setattr(metrics, "score", lambda names, answers, references: seen.extend(references) or {})
    model = run.build_model()
    (figures,) = evaluate(model, datasets, run.hparams, decoder=GreedyDecoder(model)).values()
    assert sorted(seen) == sorted(example["targets"] for example in problem.examples("dev", None))
    assert figures["too_long"] == 20
    report = format_report({"step": 1, "problems": {"session_reverse": figures}})
    assert "session_reverse: 20 examples of the split are longer than the maximum and cut" in report


class TestDecoder:
    def test_answers_a_file_of_pictures_line_by_line_with_scores(self, run_dir, call, problems, tmp_path):
        for name in ("red", "blue"):
            PilImage.fromarray(problems.picture(name)).save(tmp_path / f"{name}.png")
            # A picture of another size and kind is fitted.
            PilImage.fromarray(problems.picture(name)).resize((30, 20)).save(tmp_path / f"{name}.jpg")
        paths = [f"{tmp_path}/{name}" for name in ("red.png", "blue.png", "blue.jpg", "red.png", "red.jpg")]
        (tmp_path / "in").write_text("\n".join(paths) + "\n")
        files = [f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
        flags = [*files, "--return_scores", "--decode_hparams=batch_size=2"]
        call(decoder, run_dir, "--problem=session_pictures", *flags)
        lines = (tmp_path / "out").read_text().splitlines()
        answers, scores = zip(*(line.split("\t") for line in lines), strict=True)
        assert len(answers) == 5 and set(answers) <= {"red", "blue"}
        assert all(-0.6932 <= float(score) <= 0 for score in scores)  # the likelier of two classes
        assert lines[0] == lines[3]
        assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]

    def test_interactive_answers_go_on_after_an_unreadable_input(
        self, run_dir, call, problems, tmp_path, monkeypatch, capsys
    ):
        write_wav(tmp_path / "a.wav", problems.tones(["low", "high"]))
        # Of twice the rate: each sample doubled, and no other sound once it is read.
        write_wav(tmp_path / "fast.wav", np.repeat(problems.tones(["low", "high"]), 2), rate=16000)
        typed = [f"{tmp_path}/a.wav", "", f"{tmp_path}/none.wav", f"{tmp_path}/fast.wav", f"{tmp_path}/a.wav"]
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed)))
        call(decoder, run_dir, "--problem=session_tones", "--decode_interactive", "--decode_hparams=max_length=3")
        captured = capsys.readouterr()
        answers = captured.out.splitlines()
        assert len(answers) == 3 and answers[0] == answers[2]
        errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        notes = [line for line in captured.err.splitlines() if line not in errors]
        assert len(errors) == 1 and "none.wav: cannot be read" in errors[0]
        assert notes == ["note: answer reached the length limit"] * 3

    def test_shows_examples_beside_their_references(self, run_dir, call, problems, capsys):
        call(decoder, run_dir, "--problem=session", "--show=2", "--decode_hparams=max_length=3")
        out = capsys.readouterr().out
        assert re.findall(r"^\w+$", out, re.MULTILINE) == NAMES
        assert len(re.findall(r"^  answer     ", out, re.MULTILINE)) == 6
        for example in list(problems.SessionReverse("session_reverse").examples("dev", None))[:2]:
            assert f"  input      {example['inputs']}\n  reference  {example['targets']}\n" in out
        assert "(picture 0 of the dev split, 8 x 8)" in out
        assert "(sound 1 of the dev split, 0.2 s)" in out

    @pytest.mark.slow
    def test_beams_samples_and_ranked_classes(self, run_dir, call, problems, tmp_path, capsys):
        PilImage.fromarray(problems.picture("red")).save(tmp_path / "red.png")
        (tmp_path / "in").write_text(f"{tmp_path}/red.png\n")
        (tmp_path / "letters").write_text("a b c\nd c\n" + "a " * 20 + "\n")
        flags = ["--return_scores", f"--decode_to_file={tmp_path}/out"]
        classes = ["--problem=session_pictures", f"--decode_from_file={tmp_path}/in"]
        call(decoder, run_dir, *classes, *flags, "--decode_hparams=return_beams=2")
        first, first_score, second, second_score = (tmp_path / "out").read_text().rstrip("\n").split("\t")
        assert {first, second} == {"red", "blue"}
        assert np.exp(float(first_score)) + np.exp(float(second_score)) == pytest.approx(1, abs=1e-3)
        letters = ["--problem=session_reverse", f"--decode_from_file={tmp_path}/letters"]
        found = []
        for search in ("beam_size=3,return_beams=2", "sampling=true,return_beams=2,temperature=2,seed=1"):
            call(decoder, run_dir, *letters, *flags, f"--decode_hparams={search},max_length=4")
            # Not splitlines: an answer of this network may hold characters that Python takes for the end of a line.
            lines = [line.split("\t") for line in (tmp_path / "out").read_text().split("\n")[:-1]]
            assert [len(line) for line in lines] == [4] * 3
            assert all(float(line[1]) < 0 and float(line[3]) < 0 for line in lines)
            assert "1 to an input that was too long and cut" in capsys.readouterr().out
            found.append(lines)
        assert found[0] != found[1]

    def test_brackets_make_whole_trees_over_the_words(self, run_dir, call, problems, tmp_path, monkeypatch):
        sentences = ["a b c", "", "d", "c (d"]
        (tmp_path / "letters").write_text("\n".join(sentences) + "\n")
        flags = ["--problem=session_reverse", f"--decode_from_file={tmp_path}/letters"]
        flags += [f"--decode_to_file={tmp_path}/out", "--decode_hparams=beam_size=2,return_beams=2,max_length=6"]
        call(decoder, run_dir, *flags)
        linear = [line.split("\t") for line in (tmp_path / "out").read_text().splitlines()]
        monkeypatch.setattr(problems.SessionReverse, "metrics", ("tree",))
        call(decoder, run_dir, *flags, "--brackets")
        found = [line.split("\t") for line in (tmp_path / "out").read_text().splitlines()]
        assert found[1] == linear[1] == ["", ""]
        for sentence, answers, texts in zip(sentences, found, linear, strict=True):
            if sentence:
                assert answers == [trees.bracketed(text, sentence) for text in texts]
                words = ["".join(trees.parse(answer).words()) for answer in answers]
                assert words == 2 * [sentence.replace(" ", "")]
                assert all(("-LRB-" in answer) == ("(" in sentence) for answer in answers)


class TestLearning:
    """A run that learns a problem: fails if the model, the gradient or the search is broken."""

    def test_reversal_is_learned_and_decoded_in_order(self, learned, call, tmp_path, capsys):
        inputs = ["a b c", "d", "c a d", "", "b b a", "a b c", "d c a"]
        (tmp_path / "in").write_text("\n".join(inputs), encoding="utf8")
        files = [f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
        call(decoder, learned, "--problem=session_reverse", *files, "--decode_hparams=batch_size=4")
        answers = (tmp_path / "out").read_text(encoding="utf8").split("\n")
        assert len(answers) == len(inputs) + 1 and answers[-1] == ""
        three = [i for i, text in enumerate(inputs) if len(text.split()) == 3]
        right = [answers[i] == " ".join(reversed(inputs[i].split())) for i in three]
        assert sum(right) >= len(right) - 1, answers
        assert answers[0] == answers[5] and answers[3] == ""
        assert f"7 lines written to {tmp_path}/out; 1 empty (line 4)" in capsys.readouterr().out

    def test_its_scores_are_high(self, learned, call, tmp_path):
        call(evaluator, learned, "--problem=session_reverse", f"--json_out={tmp_path}/scores.json")
        (figures,) = json.loads((tmp_path / "scores.json").read_text())["problems"].values()
        assert figures["accuracy"] >= 0.9
        assert figures["accuracy_top5"] >= figures["accuracy"] >= figures["accuracy_per_sequence"]
        assert figures["wer"] <= 0.25


def test_a_process_prints_nothing_of_tensorflow(run_dir, session_data, tmp_path, problems):
    """Standard error has no line of TensorFlow, standard output has answers alone."""
    PilImage.fromarray(problems.picture("red")).save(tmp_path / "red.png")
    flags = [f"--t2t_usr_dir={USR_DIR}", f"--data_dir={session_data}", f"--output_dir={run_dir}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-m", "t2t_lite.bin.decoder", *flags, "--problem=session_pictures", "--decode_interactive"],
        input=f"{tmp_path}/red.png\n{tmp_path}/no.png\n",
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("red\n", "blue\n")
    assert re.fullmatch(r"error: .*no\.png.*\n", done.stderr), done.stderr


def write_wav(path, samples, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
