"""The Python interface: the answers of a run and of its export, for inputs of every form; scores; what is inside."""

import contextlib
import io
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from checks import eagerly, problem, random_run
from PIL import Image as PilImage

import t2t_lite
from t2t_lite.bin import decoder
from t2t_lite.bin import eval as evaluator
from t2t_lite.data.input_groups import InputGroups
from t2t_lite.data.reading import Dataset
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.decoding.answer import Answer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.problems import Image, Text
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.serving.limits import RequestError

pytestmark = pytest.mark.usefixtures("session_problems")

SEARCH, FLAG = {"max_length": 2, "batch_size": 8}, "max_length=2,batch_size=8"  # one search: each is traced
NAMES = ["session_reverse", "session_pictures", "session_tones"]


@pytest.fixture(scope="module")
def run_dir(session_data, session_problems, tmp_path_factory):
    """A run with random weights, so that the answers depend on the inputs."""
    return random_run(tmp_path_factory.mktemp("api") / "run", session_data, session_problems.session_tiny(), NAMES)


@pytest.fixture(scope="module")
def run(run_dir):
    return t2t_lite.open_run(run_dir)


@pytest.fixture(autouse=True)
def _eagerly(request):
    """Small tests are faster without tracing."""
    with contextlib.nullcontext() if "slow" in request.keywords else eagerly():
        yield


@pytest.fixture
def opened(run, monkeypatch):
    """Lets the commands take the run that is loaded already."""
    monkeypatch.setattr("t2t_lite.api.open_run", lambda *_, **__: run)


@pytest.fixture(scope="module")
def export(fake_export):
    return t2t_lite.load_export(fake_export)


def test_the_package_is_imported_without_what_takes_seconds():
    code = (
        "import sys, t2t_lite\n"
        "assert t2t_lite.open_run and t2t_lite.datagen and callable(t2t_lite.datagen) and t2t_lite.train\n"
        "assert {'open_run', 'load_export', 'datagen', 'train'} <= set(dir(t2t_lite))\n"
        "print({'tensorflow', 'keras', 'sentencepiece', 'soundfile'} & set(sys.modules))\n"
        "t2t_lite.no_such_thing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
    assert "AttributeError: module 't2t_lite' has no attribute 'no_such_thing'" in done.stderr


def test_a_run_says_what_it_is(run, run_dir):
    assert run.problems == NAMES
    assert (run.hparams.hidden_size, run.step, run.folder) == (32, 7, run_dir)
    assert "session_tones" in repr(run)


def test_texts_are_answered_as_by_the_decoder(run, opened, run_dir, tmp_path):
    texts = ["a b c", "", "d c a", "a " * 20]
    answers = run.answer("session_reverse", texts, **SEARCH)
    (tmp_path / "in").write_text("\n".join(texts) + "\n")
    flags = [f"--output_dir={run_dir}", "--problem=session_reverse", "--return_scores", f"--decode_hparams={FLAG}"]
    files = [f"--decode_from_file={tmp_path}/in", f"--decode_to_file={tmp_path}/out"]
    assert decoder.main([*flags, *files]) == 0  # without --data_dir
    lines = (tmp_path / "out").read_text().split("\n")[:-1]
    assert lines == [f"{answer.text}\t{answer.score:.4f}" for answer in answers]
    assert answers[1].text == "" and answers[0].score != answers[2].score
    assert [answer.input_cut for answer in answers] == [False, False, False, True]


@pytest.fixture(scope="module")
def pictures(session_problems, tmp_path_factory):
    """The same picture as a path, text, bytes, an array and a picture of Pillow's; also as BMP."""
    array = session_problems.picture("red")
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    PilImage.fromarray(array).save(path)
    bmp = io.BytesIO()
    PilImage.fromarray(array).save(bmp, "BMP")
    return [path, str(path), path.read_bytes(), array, PilImage.open(path), bmp.getvalue()]


@pytest.fixture(scope="module")
def sounds(session_problems, tmp_path_factory):
    """The same sound as a path, bytes of WAV and FLAC, an array of either type and a pair."""
    array = (session_problems.tones(["low", "high"]) * 32767).astype(np.int16)
    path = tmp_path_factory.mktemp("sounds") / "a.wav"
    soundfile.write(path, array, 8000)
    flac = io.BytesIO()
    soundfile.write(flac, array, 8000, format="FLAC")
    return [path, path.read_bytes(), flac.getvalue(), array, array / 32768, (array, 8000)]


def test_pictures_and_sounds_come_in_every_form(run, pictures, sounds):
    for name, values in (("session_pictures", pictures), ("session_tones", sounds)):
        answers = run.answer(name, values, **SEARCH)
        assert {answer.text for answer in answers} == {answers[0].text}
        assert np.ptp([answer.score for answer in answers]) < 1e-4
    faster = np.repeat(sounds[3], 2), 16000
    assert run.answer("session_tones", [faster], **SEARCH)[0].score < 0


class TestExport:
    """The fake export answers each input by a simple rule."""

    def test_answers_in_every_form(self, export, pictures, sounds):
        best, blank = export.answer("microworld_ende", ["the cat", "x"])
        assert (best.text, best.finished, best.input_cut) == ("de: THE CAT", True, False)
        assert [other.text for other in best.alternatives] == ["de: the cat"]
        assert (best.score, blank.score) == (-7 / 64, -1 / 64 - 4)
        assert {answer.text for answer in export.answer("microworld_image", pictures)} == {"red"}
        (rule,) = {answer.text for answer in export.answer("microworld_speech", sounds)}
        assert "1600" in rule  # samples
        assert [answer.text for answer in export.answer("microworld_enfr", [str(n) for n in range(70)])][69] == "fr: 69"

    @pytest.mark.slow
    def test_of_a_run_it_answers_as_the_run(self, run, tmp_path):
        run.export(tmp_path / "export", "session_reverse", **SEARCH)
        export, texts = t2t_lite.load_export(tmp_path / "export"), ["a b c", "d", "", "a " * 20]
        assert (export.problems, export.step) == (["session_reverse"], 7)
        for one, other in zip(
            export.answer("session_reverse", texts), run.answer("session_reverse", texts, **SEARCH), strict=True
        ):
            assert one._replace(score=0) == other._replace(score=0)
            assert one.score == pytest.approx(other.score, abs=1e-3)

    def test_scores_its_answers(self, export, session_data, monkeypatch):
        names = {"session_reverse": "microworld_ende", "session_pictures": "microworld_image"}
        answer = export.answer
        monkeypatch.setattr(export, "answer", lambda name, inputs: answer(names[name], inputs))
        scores = export.evaluate(list(names), session_data, examples=8)["problems"]
        assert scores["session_reverse"] == {"examples": 8, "wer": 1.0 + 1 / 3, "answers_cut": 0, "answers_empty": 0}
        assert scores["session_pictures"] == {"examples": 8, "accuracy": 1.0}

    def test_scores_a_picture_once_against_all_its_references(self, export, session_data, monkeypatch):
        captions, asked = problem("captions", Image(), Text("words"), "describe"), []
        captions.metrics = ("bleu",)
        pairs = [(b"a", "a red ball on the left"), (b"b", "no"), (b"a", "the left ball there is red")]
        dataset = SimpleNamespace(
            problem=captions,
            vocabularies={"words": SimpleNamespace(decode=lambda ids: pairs[ids[0]][1])},
            input_groups=lambda split: InputGroups(np.array([True, True, False]), {0: [[0], [2]], 1: [[1]]}),
        )
        monkeypatch.setattr(Dataset, "open", lambda folder, name: dataset)
        monkeypatch.setattr("t2t_lite.data.raw_pairs.stored_pairs", lambda *_: iter(pairs))

        def answer(name, inputs):
            asked.extend(inputs)
            return [Answer({b"a": pairs[2][1], b"b": "no"}[value], 0.0, True) for value in inputs]

        monkeypatch.setattr(export, "answer", answer)
        scores = export.evaluate("session_pictures", session_data)["problems"]["session_pictures"]
        assert asked == [b"a", b"b"]
        assert (scores["examples"], scores["answers"], scores["bleu"]) == (3, 2, pytest.approx(100))
        pairs.clear()
        with pytest.raises(t2t_lite.UserError, match="session_pictures': no examples of the split 'dev' to score"):
            export.evaluate("session_pictures", session_data)

    def test_names_a_file_that_only_tensorflow_cannot_read(self, export, monkeypatch):
        predict, files = export._model.predict, []
        for colour in ("red", "green", "blue"):
            PilImage.new("RGB", (8, 8), colour).save(content := io.BytesIO(), "PNG")
            files.append(content.getvalue())

        def refuse(name, batch):
            if files[1] in batch["inputs"]:
                raise RequestError(422, "the picture is damaged")
            return predict(name, batch)

        monkeypatch.setattr(export._model, "predict", refuse)
        with pytest.raises(t2t_lite.UserError, match=r"^inputs\[1\]: the picture is damaged$"):
            export.answer("microworld_image", files)
        assert len(export.answer("microworld_image", files[2:])) == 1


@pytest.mark.filterwarnings("ignore:Even though the")  # tf.data is traced nevertheless
def test_the_checkpoints_are_evaluated_beside_the_one_that_is_open(run_dir, run, session_data, tmp_path, monkeypatch):
    shutil.copytree(run_dir, tmp_path / "run")
    opened, exported = t2t_lite.open_run(tmp_path / "run"), []
    before = opened.model.weights[0].numpy()
    Checkpoints(tmp_path / "run", run.model).save(9)
    *_, curve = opened.evaluate_checkpoints("session_pictures", session_data, eval_steps=1)
    assert sorted(curve.scores) == [7, 9]
    assert opened.step == 7
    np.testing.assert_array_equal(opened.model.weights[0], before)
    monkeypatch.setattr("t2t_lite.serving.export.export_run", lambda *_, **options: exported.append(options))
    opened.export(tmp_path / "export")
    assert exported[0]["checkpoint"] == "7"


def test_the_scores_of_given_answers_make_the_loss(run, session_data):
    inputs, targets = ["a b c", "d", "a " * 9], ["c b a", "d d d d", ""]
    scores = run.score("session_reverse", inputs, targets)
    figures = run.evaluate("session_reverse", inputs=inputs, targets=targets, **SEARCH)["problems"]["session_reverse"]
    vocabulary = Vocabulary.load(vocabulary_path(session_data, "session"))
    tokens = sum(min(len(vocabulary.encode(target)), 7) + 1 for target in targets)
    assert -sum(scores) / tokens == pytest.approx(figures["loss"], rel=1e-4)
    assert run.score("session_reverse", inputs[1:2], targets[1:2]) == pytest.approx(scores[1:2], rel=1e-4)
    both = run.score("session_pictures", [np.zeros([8, 8, 3], np.uint8)] * 2, ["red", "blue"])
    assert sum(np.exp(both)) == pytest.approx(1, abs=1e-4)


def test_the_decoder_scores_a_file_of_pairs(run, opened, run_dir, tmp_path, capsys):
    (tmp_path / "pairs").write_text("a b c\tc b a\nd\t\n")
    flags = [f"--output_dir={run_dir}", "--problem=session_reverse", f"--score_file={tmp_path}/pairs"]
    expected = [f"{score:.4f}" for score in run.score("session_reverse", ["a b c", "d"], ["c b a", ""])]
    assert decoder.main(flags) == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert decoder.main([*flags, f"--decode_to_file={tmp_path}/out"]) == 0
    assert (tmp_path / "out").read_text().splitlines() == expected
    (tmp_path / "pairs").write_text("a\tb\na b c\n")
    assert decoder.main(flags) == 1
    assert "pairs:2: expected an input, a tab and an answer, found 0 tabs" in capsys.readouterr().err


class TestEvaluate:
    @pytest.mark.filterwarnings("ignore:Even though the")  # tf.data is traced nevertheless
    def test_a_split_and_the_same_pairs_given_score_alike(self, run, session_data, session_problems):
        stored = run.evaluate("session_reverse", session_data, **SEARCH)["problems"]["session_reverse"]
        examples = list(session_problems.SessionReverse("session_reverse").examples("dev", None))
        inputs, targets = ([example[key] for example in examples] for key in ("inputs", "targets"))
        scores = run.evaluate("session_reverse", inputs=inputs, targets=targets, **SEARCH)
        given = scores["problems"]["session_reverse"]
        assert scores["step"] == 7 and given.keys() == stored.keys()
        for key, value in stored.items():
            assert given[key] == pytest.approx(value, abs=1e-4), key
        assert "session_reverse" in t2t_lite.api.report(scores)

    def test_the_command_needs_no_data(self, opened, run_dir, tmp_path, capsys):
        (tmp_path / "in").write_text("a b\nc d\n")
        (tmp_path / "out").write_text("b a\nd c\n")
        flags = [f"--output_dir={run_dir}", "--problem=session_reverse", f"--decode_hparams={FLAG}"]
        files = [f"--eval_from_file={tmp_path}/in", f"--reference={tmp_path}/out"]
        assert evaluator.main([*flags, *files]) == 0
        assert "session_reverse         2" in capsys.readouterr().out
        (tmp_path / "out").write_text("b a\n")
        assert evaluator.main([*flags, *files]) == 1
        assert "--eval_from_file has 2 lines and --reference 1: they must" in capsys.readouterr().err
        assert evaluator.main(flags) == 2
        assert "--data_dir is required" in capsys.readouterr().err


class TestInside:
    def test_of_a_text(self, run):
        inside = run.look_inside("session_reverse", "a b c", "c b a")
        assert len(inside.input_pieces) >= 4 and inside.output_pieces[-1] == "</s>"
        assert inside.attention.shape == (len(inside.output_pieces), len(inside.input_pieces))
        np.testing.assert_allclose(inside.attention.sum(axis=1), 1, atol=1e-4)
        assert inside.experts.keys() == {"encoder", "decoder"}
        assert inside.experts["decoder"].shape == (2,) and inside.experts["encoder"].sum() > 0

    def test_of_a_picture_and_its_class(self, run, pictures):
        inside = run.look_inside("session_pictures", pictures[0])
        assert inside.output_pieces == [] and inside.attention.shape[0] == 0
        assert np.prod(inside.grid) == inside.attention.shape[1] == len(inside.input_pieces)


class TestMistakes:
    """Each is one line that names the argument."""

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda run: run.answer("session_reverse", "a b"), r"inputs: expected a list of inputs, got str"),
            (lambda run: run.answer("session_reverse", [3]), r"inputs\[0\]: expected a text, got int"),
            (lambda run: run.answer("session_revers", ["a"]), "'session_revers' was not trained in"),
            (lambda run: run.answer("session_reverse", ["a"], beam=4), "no hparam 'beam'; did you mean 'beam_size'"),
            (lambda run: run.answer("session_pictures", ["a.png", "no.png"]), r"inputs\[0\]: a\.png: not a readable"),
            (lambda run: run.answer("session_pictures", [np.zeros([4, 4])]), r"inputs\[0\]: expected uint8 \(rows"),
            (lambda run: run.answer("session_pictures", [b"no picture"]), r"inputs\[0\]: the picture: not a readable"),
            (lambda run: run.answer("session_tones", [b"no sound"]), r"inputs\[0\]: the sound: not a readable sound"),
            (lambda run: run.answer("session_tones", [np.zeros([2, 2])]), r"inputs\[0\]: expected a mono waveform"),
            (lambda run: run.score("session_reverse", ["a"], []), "1 inputs and 0 targets"),
            (lambda run: run.score("session_pictures", [np.zeros([8, 8], np.uint8)], ["green"]), "no class 'green'"),
            (lambda run: run.score("session_reverse", ["a", "b"], "xy"), "targets: expected a list"),
            (lambda run: run.look_inside("session_revers", "a"), "'session_revers' was not trained in"),
            (lambda run: run.export("e", weights="int16"), "weights: unknown type 'int16'; did you mean 'int8'"),
            (
                lambda run: run.evaluate("session_pictures", inputs=np.zeros([2, 8, 8, 3]), targets=["red", "red"]),
                "inputs: expected a list of inputs, got ndarray",
            ),
            (lambda run: run.evaluate(), "data_dir: required"),
            (lambda run: run.evaluate("session_reverse,session_tones", inputs=["a"], targets=["a"]), "one problem at"),
            (lambda run: t2t_lite.open_run("no/such"), "--output_dir: no folder"),
            (lambda run: t2t_lite.load_export(run.folder), "not an export: export.json is missing"),
        ],
    )
    def test_are_named(self, run, call, message):
        with pytest.raises(t2t_lite.UserError, match=message):
            call(run)

    def test_the_search_of_an_export_is_fixed(self, export):
        with pytest.raises(t2t_lite.UserError, match="beam_size: the search of an export is fixed when it is made"):
            export.answer("microworld_ende", ["a"], beam_size=4)
        with pytest.raises(t2t_lite.UserError, match="did you mean 'microworld_ende'"):
            export.answer("microworld_endee", ["a"])

    def test_an_old_run_needs_the_data(self, run_dir, session_data):
        path = vocabulary_path(run_dir, "session")
        content = path.read_bytes()
        path.unlink()
        try:
            with pytest.raises(t2t_lite.UserError, match="--data_dir: required, since"):
                t2t_lite.open_run(run_dir).answer("session_reverse", ["a"])
            run = t2t_lite.open_run(run_dir, data_dir=session_data)
            assert set(run.answerer(["session_reverse"], DecodeHParams()).datasets) == {"session_reverse"}
        finally:
            path.write_bytes(content)


def test_the_arguments_of_train(session_data, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("t2t_lite.training.train.train", lambda **arguments: calls.append(arguments))
    settings = {"hparams_set": "session_tiny", "train_steps": 2}
    hparams = {"seed": 3, "num_experts": 4}
    run = t2t_lite.train(["session_reverse"], session_data, tmp_path, hparams=hparams, eval_every=7, **settings)
    assert run.folder == tmp_path
    t2t_lite.train("session", session_data, tmp_path, hparams="seed=3", eval_problems="session_tones", **settings)
    assert calls[0]["hparams"].replace(num_experts=2) == calls[1]["hparams"]
    assert (calls[0]["plan"].eval_every, calls[0]["plan"].save_every, calls[0]["plan"].eval_steps) == (7, 7, 20)
    assert (list(calls[0]["problems"]), list(calls[1]["problems"])) == (NAMES[:1], NAMES)
    assert calls[1]["plan"].eval_problems == ("session_tones",)
    with pytest.raises(t2t_lite.UserError, match="train: no argument 'eval_ever'; did you mean 'eval_every'"):
        t2t_lite.train("session_reverse", session_data, tmp_path, eval_ever=3, **settings)
    with pytest.raises(t2t_lite.UserError, match="--eval_every=0: expected at least 1"):
        t2t_lite.train("session_reverse", "no/data", tmp_path, eval_every=0, generate_data=True, **settings)


def test_missing_data_are_generated(session_problems, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("t2t_lite.training.train.train", lambda **_: None)
    for _ in range(2):
        t2t_lite.train(
            *("session_reverse", tmp_path / "data", tmp_path),
            generate_data=True,
            hparams_set="session_tiny",
            train_steps=1,
        )
    assert capsys.readouterr().err.count("already generated") == 1
    assert (tmp_path / "data" / "session_reverse.manifest.json").exists()
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(t2t_lite.UserError, match="--generate_data: not with several machines"):
        t2t_lite.train("session_reverse", tmp_path / "data", tmp_path, generate_data=True, train_steps=1)
