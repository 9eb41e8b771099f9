"""t2t-exporter: an export loaded without t2t_lite gives t2t-decoder's answers."""

import base64
import functools
import io
import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from checks import random_run
from conftest import USR_SESSION
from PIL import Image as PilImage

from t2t_lite.bin import exporter
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.decoding.decode import Answerer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.serving.export import check_replaceable, write_export
from t2t_lite.serving.model import ExportedModel
from t2t_lite.serving.tokenizer import Tokenizer
from t2t_lite.serving.weights import DequantizedWeights, StoredWeight

pytestmark = pytest.mark.usefixtures("session_problems")

NAMES = ["session_reverse", "session_pictures", "session_tones"]
BEAMS = "beam_size=3,return_beams=2,max_length=5"

# Loads exports and answers requests without t2t_lite, whether or not it is installed. Strings are in base64.
CLIENT = """
import base64, json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("t2t_lite", "sentencepiece", "soundfile", "PIL"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import tensorflow as tf, tensorflow_text
loaded, answers = {}, []
for folder, signature, arguments in json.load(sys.stdin):
    if folder not in loaded:
        loaded[folder] = tf.saved_model.load(folder)
    given = {k: tf.constant([base64.b64decode(v) for v in vs], tf.string) for k, vs in arguments.items()}
    try:
        results = loaded[folder].signatures[signature](**given)
    except tf.errors.InvalidArgumentError as e:
        answers.append(str(e))
        continue
    plain = lambda x: [plain(each) for each in x] if isinstance(x, list) else x.decode() if isinstance(x, bytes) else x
    answers.append({k: plain(v.numpy().tolist()) for k, v in results.items()})
assert not any(name.partition(".")[0] == "t2t_lite" for name in sys.modules)
print("ANSWERS", json.dumps(answers))
"""


@pytest.fixture(scope="module")
def run_dir(session_data, session_problems, tmp_path_factory):
    """A run of all three problems, with random weights so that the answers depend on the inputs."""
    return random_run(tmp_path_factory.mktemp("export") / "run", session_data, session_problems.session_tiny(), NAMES)


@pytest.fixture
def export(run_dir, capsys):
    """Calls t2t-exporter; returns its status, stdout and stderr."""

    def export(export_dir, *flags, problem="session"):
        shared = [f"--t2t_usr_dir={USR_SESSION}", f"--problem={problem}", f"--export_dir={export_dir}"]
        status = exporter.main([*shared, f"--output_dir={run_dir}", *flags])
        return status, *capsys.readouterr()

    return export


@pytest.fixture(scope="module")
def exported(run_dir, tmp_path_factory):
    """Returns the folder of an export: "greedy" of all problems, or "narrow" of two with beams and int8 weights."""
    flags = {
        "greedy": ["--problem=session"],
        "narrow": ["--problem=session_pictures,session_reverse", "--weights=int8", f"--decode_hparams={BEAMS}"],
    }

    @functools.cache
    def exported(kind):
        folder = tmp_path_factory.mktemp("exports") / kind
        shared = [f"--t2t_usr_dir={USR_SESSION}", f"--output_dir={run_dir}", f"--export_dir={folder}"]
        assert exporter.main([*shared, *flags[kind]]) == 0
        return folder

    return exported


@pytest.fixture(scope="module")
def raw(tmp_path_factory, session_problems):
    """{problem: {a line of t2t-decoder's input: the raw input}}, of every length and kind."""
    folder = tmp_path_factory.mktemp("raw")
    texts = ["a b c", "", "  ", "a", "d c b a d c b a d c", "x\u2581 \U0010ffff\u6f22", "\u3000\xa0\t", "b b"]
    lines = {name: {} for name in NAMES} | {"session_reverse": {text: text.encode() for text in texts}}

    def add(name, ending, content):
        path = folder / f"{len(lines[name])}{ending}"
        path.write_bytes(content)
        lines[name][str(path)] = content

    red = session_problems.picture("red")
    turned = PilImage.Exif()
    turned[0x0112] = 6
    for picture, options in (
        (PilImage.fromarray(red), {}),
        (PilImage.fromarray(np.dstack([red, red[..., 0]])), {}),
        (PilImage.fromarray(red).convert("L").resize((31, 9)), {}),
        (PilImage.fromarray(session_problems.picture("blue")).resize((640, 480)).convert("P"), {}),
        (PilImage.linear_gradient("L").resize((40, 20)), {"format": "JPEG", "exif": turned}),
    ):
        content = io.BytesIO()
        picture.save(content, **({"format": "PNG"} | options))
        add("session_pictures", ".picture", content.getvalue())
    for names, rate, channels in (
        ("low high", 8000, 1),
        ("high", 8000, 2),
        ("high high low", 8000, 1),
        ("low", 16000, 1),
    ):
        content = io.BytesIO()
        with wave.open(content, "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(2)
            file.setframerate(rate)
            samples = np.int16(32767 * session_problems.tones(names.split()))
            file.writeframes(np.repeat(samples[:, None], channels, axis=1).tobytes())
        add("session_tones", ".wav", content.getvalue())
    return lines


@pytest.fixture(scope="module")
def ask():
    """Answers requests (folder, signature, {argument: [bytes]}) in a process without t2t_lite."""

    def ask(requests):
        coded = [
            (str(folder), signature, {k: [base64.b64encode(v).decode() for v in vs] for k, vs in arguments.items()})
            for folder, signature, arguments in requests
        ]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CLIENT],
            input=json.dumps(coded), capture_output=True, text=True, env=environment, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.partition("ANSWERS")[2])

    return ask


def decoded(run_dir, data_dir, raw, names, hparams="", weights="float32"):
    """t2t-decoder's answers with weights quantized in this way, as {problem: an export's results}."""
    answerer = Answerer(names, data_dir, run_dir, DecodeHParams.parse(hparams))
    for weight in answerer._decoder.model.weights:
        weight.assign(StoredWeight(weight, weights).value())
    found = {}
    for name in names:
        answers = list(answerer.answer(name, {f"{i}": line for i, line in enumerate(raw[name])}))
        rows = [(answer, *answer.alternatives) for answer in answers]
        found[name] = {
            "outputs": [[each.text for each in row] for row in rows],
            "scores": [[each.score for each in row] for row in rows],
            "cut": [[not each.finished for each in row] for row in rows],
            "too_long": [answer.input_cut for answer in answers],
        }
    return found


def assert_same(found, expected):
    """Compares an export's answers with t2t-decoder's. Of classes an export gives more; the rest is ignored."""
    for key in ("outputs", "scores", "cut"):
        rows = [row[: len(wanted)] for row, wanted in zip(found[key], expected[key], strict=True)]
        if key == "scores":
            np.testing.assert_allclose(rows, expected[key], atol=1e-4)
        else:
            assert rows == expected[key]
    assert found["too_long"] == expected["too_long"]


@pytest.fixture(scope="module")
def answers(ask, exported, raw):
    """The greedy export's answers: to all inputs in one batch, to the last alone, to bad inputs, and attention."""
    requests = {}
    for name in NAMES:
        inputs = list(raw[name].values())
        requests[name] = (name, {"inputs": inputs})
        requests[name, "last"] = (name, {"inputs": inputs[-1:]})
    for name, content in (("reverse", b"\xff"), ("pictures", b"GIF89a"), ("tones", b"RIFFxxxxWAVE"), ("tones", b"")):
        requests["bad", name, content] = (f"session_{name}", {"inputs": [content]})
    requests["bad", "none"] = ("session_reverse", {"inputs": []})
    given = {"inputs": [b"a b c", b"a"], "outputs": [b"c b", b"a b d"]}
    requests["attention"] = ("session_reverse/attention", given)
    given = {"inputs": list(raw["session_tones"].values())[:2], "outputs": [b"low", b"high low"]}
    requests["attention", "tones"] = ("session_tones/attention", given)
    return dict(zip(requests, ask([(exported("greedy"), *each) for each in requests.values()]), strict=True))


class TestAnswers:
    def test_equal_the_decoders(self, answers, run_dir, session_data, raw):
        for name, expected in decoded(run_dir, session_data, raw, NAMES).items():
            assert len({*map(str, expected["scores"])}) > 2  # the answers depend on the inputs
            assert_same(answers[name], expected)

    @pytest.mark.slow
    def test_with_beams_and_int8_weights_equal_the_decoders_with_these_weights(
        self, ask, exported, run_dir, session_data, raw
    ):
        names = ["session_reverse", "session_pictures"]
        folder = exported("narrow")
        answers = ask([(folder, name, {"inputs": list(raw[name].values())}) for name in names])
        expected = decoded(run_dir, session_data, raw, names, BEAMS, "int8")
        for name, found in zip(names, answers, strict=True):
            assert all(len(row) == 2 for row in found["outputs"])
            assert_same(found, expected[name])
        about = json.loads((folder / "export.json").read_text())
        assert (about["weights"], about["problems"]["session_reverse"]["answers"]) == ("int8", 2)
        assert about["bytes"] < json.loads((exported("greedy") / "export.json").read_text())["bytes"]

    def test_do_not_depend_on_the_batch(self, answers):
        for name in NAMES:
            assert answers[name, "last"]["outputs"] == answers[name]["outputs"][-1:]

    def test_texts_without_words_and_long_ones(self, answers, raw):
        rows = dict(zip(raw["session_reverse"], answers["session_reverse"]["outputs"], strict=True))
        assert rows[""] == rows["  "] == rows["\u3000\xa0\t"] == [""]
        long = dict(zip(raw["session_reverse"], answers["session_reverse"]["too_long"], strict=True))
        assert [text for text, cut in long.items() if cut] == ["d c b a d c b a d c", "x\u2581 \U0010ffff\u6f22"]
        assert answers["session_tones"]["too_long"] == [False, False, True, False]

    def test_bad_inputs_are_refused(self, answers):
        assert "assertion failed: [not UTF-8 text]" in answers["bad", "reverse", b"\xff"]
        assert "assertion failed: [not a PNG or JPEG picture]" in answers["bad", "pictures", b"GIF89a"]
        assert "assertion failed: [not a WAV file]" in answers["bad", "tones", b""]
        assert isinstance(answers["bad", "tones", b"RIFFxxxxWAVE"], str)
        assert "assertion failed: [no inputs]" in answers["bad", "none"]


class TestAttention:
    def test_has_a_row_for_each_piece_which_sums_to_one(self, answers):
        found = answers["attention"]
        weights = np.array(found["weights"])  # (B, T, S)
        assert ["".join(row) for row in found["output_pieces"]] == [" c b", " a b d"]
        assert ["".join(row) for row in found["input_pieces"]] == [" a b c", " a"]
        assert weights.shape == (2, len(found["output_pieces"][0]), len(found["input_pieces"][0]))
        np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
        ends = [sum(piece != "" for piece in row) for row in found["input_pieces"]]
        assert (weights[1, :, ends[1] + 1 :] < 1e-6).all()  # after the end token
        assert (weights[0] > 1e-6).all()

    def test_of_sounds_has_no_input_pieces(self, answers):
        found = answers["attention", "tones"]
        assert not any(map(any, found["input_pieces"]))
        assert np.array(found["weights"]).shape[2] == len(found["input_pieces"][0])


class TestExport:
    @pytest.mark.slow
    def test_of_one_problem_drops_unneeded_parts_and_reports_the_cost_of_bfloat16(
        self, export, tmp_path, exported, session_data
    ):
        flags = ["--weights=bfloat16", f"--data_dir={session_data}", "--eval_steps=1"]
        status, out, _ = export(tmp_path / "one", *flags, problem="session_pictures")
        assert status == 0
        title, heading, loss, *_ = out.splitlines()
        assert title == "bfloat16 weights, on 1 batches of each problem's dev split:"
        assert heading.split() == ["problem", "figure", "as", "trained", "as", "stored"]
        assert loss.split()[:2] == ["session_pictures", "loss"]
        trained, narrow = map(float, loss.split()[2:])
        assert trained > 0 and narrow == pytest.approx(trained, rel=0.1)
        kept, dropped = re.search(r"\(bfloat16\): (.*)\ndropped, .*?: (.*)\n", out).groups()
        for part in ("body.encoder", "image", "categorical_2"):
            assert part in kept and part not in dropped
        for part in ("body.mixer", "body.decoder", "language_session", "audio_8000", "commands"):
            assert part in dropped and part not in kept
        names = [name for name, _ in tf.train.list_variables(str(tmp_path / "one" / "variables" / "variables"))]
        assert 0 < len(names) < len(tf.train.list_variables(str(exported("greedy") / "variables" / "variables"))) / 2
        assert list(tf.saved_model.load(str(tmp_path / "one")).signatures) == ["session_pictures"]

    def test_describes_itself(self, exported):
        about = json.loads((exported("greedy") / "export.json").read_text())
        size = sum(path.stat().st_size for path in exported("greedy").rglob("*") if path.is_file())
        assert (about["name"], about["step"], about["weights"]) == ("multi_model", 7, "float32")
        assert 0 < size - about["bytes"] < 5000  # the description itself
        assert about["problems"]["session_pictures"] == {
            "inputs": "image",
            "outputs": "class",
            "command": "",
            "description": "Noisy pictures of one colour to its name.",
            "from": None,
            "to": None,
            "sample_rate": None,
            "max_length": None,
            "grid": [1, 1],
            "answers": 2,
        }
        assert about["problems"]["session_tones"]["sample_rate"] == 8000

    def test_is_written_atomically(self, tmp_path, monkeypatch):
        root, folder = tf.Module(), tmp_path / "export"
        signature = tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([], name="x"))

        def full_disk(root, path, *_):
            Path(path, "saved_model.pb").write_text("half")
            raise OSError(28, "No space left on device")

        folder.mkdir()
        write_export(root, {"P": signature}, {"step": 1}, folder)
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

        def busy(*_):
            raise OSError(16, "Device or resource busy")

        for owner, name, fail in ((tf.saved_model, "save", full_disk), (os, "replace", busy)):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, fail)
                for target in (folder, tmp_path / "new"):
                    with pytest.raises(OSError, match=r"No space|busy"):
                        write_export(root, {"P": signature}, {"step": 2}, target)
            assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
            assert os.listdir(tmp_path) == ["export"]
        write_export(root, {"Q": signature}, {"step": 3}, folder)
        assert json.loads((folder / "export.json").read_text())["step"] == 3
        assert list(tf.saved_model.load(str(folder)).signatures) == ["Q"]
        assert os.listdir(tmp_path) == ["export"]

    def test_through_a_link_replaces_the_link_target(self, tmp_path, monkeypatch):
        signature = tf.function(lambda x: {"y": x}).get_concrete_function(tf.TensorSpec([], name="x"))
        link, folder = tmp_path / "link", tmp_path / "to" / "export"
        link.symlink_to(folder)  # dangling at first
        for step in (1, 2):
            check_replaceable(link)
            write_export(tf.Module(), {"P": signature}, {"step": step}, link)
            assert link.is_symlink() and os.listdir(folder.parent) == ["export"]
            assert json.loads((folder / "export.json").read_text())["step"] == step
        assert sorted(os.listdir(tmp_path)) == ["link", "to"]
        monkeypatch.chdir(tmp_path)
        check_replaceable(Path("to/export"))
        monkeypatch.chdir(folder)
        for inside in (Path("."), link):
            with pytest.raises(UserError, match="to/export holds the folder you are in"):
                check_replaceable(inside)

    def test_in_a_folder_of_any_name_can_be_served(self, tmp_path):
        root = tf.Module()
        root.weight = tf.Variable("w")  # a pattern in the path would find no weights
        join = tf.function(lambda inputs: {"outputs": tf.strings.join([inputs, root.weight])})
        signature = join.get_concrete_function(tf.TensorSpec([None], tf.string, "inputs"))
        about = {"name": "m", "step": 1, "problems": {"P": {"inputs": "text"}}}
        names = ["export[1]", "a*b", "a?b", "{a,b}", "a\\b", "a b", "'a\"", "-a", "ü漢", os.fsdecode(b"a\xff")]
        for name in names:
            for _ in range(2):  # the second replaces the first
                check_replaceable(tmp_path / name)
                write_export(root, {"P": signature}, about, tmp_path / name)
            answer = ExportedModel(tmp_path / name).predict("P", {"inputs": [b"x"]})
            assert answer["outputs"].tolist() == [b"xw"]
        assert sorted(os.listdir(tmp_path)) == sorted(names)

    def test_does_not_replace_a_folder_that_only_looks_like_an_export(self, tmp_path):
        (tmp_path / "export.json").write_text("{}")
        with pytest.raises(UserError, match="holds files that are not an export"):
            check_replaceable(tmp_path)

    @pytest.mark.parametrize(
        ("flags", "status", "message"),
        [
            (["--problem=session_revers"], 1, "did you mean 'session_reverse'"),
            (["--problem=microworld_ende"], 1, "--problem: 'microworld_ende' was not trained in"),
            (["--output_dir={tmp}/none"], 1, "--output_dir: no folder"),
            (["--output_dir={tmp}"], 1, "--output_dir: no run in"),
            (["--export_dir={tmp}"], 1, "holds files that are not an export"),
            (["--export_dir={tmp}/file"], 1, "is a file; give a folder"),
            (["--export_dir={tmp}/file/below"], 1, "is a file"),
            (["--export_dir="], 2, "--export_dir is required"),
            (["--weights=int4"], 2, "unknown --weights 'int4'"),
            (["--checkpoint=3"], 1, "checkpoints there are of steps: 7"),
            (["--decode_hparams=return_beams=2"], 1, "return_beams=2 needs at least beam_size=2"),
            (["--data_dir={tmp}"], 1, "vocab.session.model: cannot read the vocabulary"),
        ],
    )
    def test_bad_flags_are_reported_in_one_line(self, flags, status, message, export, tmp_path):
        (tmp_path / "file").write_text("kept")
        given = [flag.format(tmp=tmp_path) for flag in flags]
        found, _, error = export(tmp_path / "export", *given)
        assert found == status
        assert message in error and error.count("\n") == 1
        assert os.listdir(tmp_path) == ["file"]

    def test_a_run_without_its_vocabularies_asks_for_them(self, export, run_dir, session_data, tmp_path):
        vocabulary = vocabulary_path(run_dir, "session")
        kept = vocabulary.read_bytes()
        assert kept == vocabulary_path(session_data, "session").read_bytes()
        vocabulary.unlink()
        try:
            status, _, error = export(tmp_path / "export", problem="session_reverse")
        finally:
            vocabulary.write_bytes(kept)
        assert status == 1 and "--data_dir: required, since" in error


class TestWeights:
    @pytest.mark.parametrize(("name", "shape", "axes"), [
        ("pointwise", (6, 4), [0]), ("embedding", (6, 4), [1]), ("depthwise", (3, 1, 4, 1), [0, 1]),
        ("expand", (2, 6, 4), [1]),
    ])  # fmt: skip
    def test_int8_is_symmetric_with_a_scale_for_each_output_channel(self, name, shape, axes):
        import keras

        values = np.random.default_rng(0).normal(size=shape) * np.exp(np.random.default_rng(1).normal(size=shape))
        values.flat[0] = 0.0
        weight = keras.Variable(values, name=name, dtype="float32")
        stored = StoredWeight(weight, "int8")
        assert stored.stored.dtype == tf.int8
        largest = np.abs(values).max(tuple(axes), keepdims=True)
        assert stored.scale.shape == largest.shape
        found = stored.value().numpy()
        assert (np.abs(found - values) <= largest / 127 * 0.5001).all()
        assert found.flat[0] == 0.0
        negative = StoredWeight(keras.Variable(-values, name=name, dtype="float32"), "int8")
        np.testing.assert_array_equal(negative.value(), -found)
        assert stored.size == values.size + 4 * largest.size

    def test_zeros_norms_and_gates(self):
        import keras

        zeros = StoredWeight(keras.Variable(np.zeros((3, 2)), dtype="float32", name="map"), "int8")
        np.testing.assert_array_equal(zeros.value(), np.zeros((3, 2)))
        for name, shape in (("scale", (3,)), ("gate", (3, 2)), ("commands", (3, 2))):
            weight = keras.Variable(np.random.default_rng(0).normal(size=shape), dtype="float32", name=name)
            for kind in ("int8", "bfloat16"):
                np.testing.assert_array_equal(StoredWeight(weight, kind).value(), weight.numpy())

    def test_bfloat16_halves_and_keeps_eight_bits(self):
        import keras

        weight = keras.Variable(np.random.default_rng(0).normal(size=(30, 20)), dtype="float32", name="map")
        stored = StoredWeight(weight, "bfloat16")
        assert stored.size == 30 * 20 * 2
        np.testing.assert_allclose(stored.value(), weight.numpy(), rtol=2**-8)
        assert not np.array_equal(stored.value(), weight.numpy())

    @pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
    def test_are_dequantized_when_an_export_is_loaded(self, kind, tmp_path):
        import keras

        values = {"map": (6, 4), "scale": (4,), "gate": (4, 3)}
        rng = np.random.default_rng(0)
        weights = [keras.Variable(rng.normal(size=shape), dtype="float32", name=name) for name, shape in values.items()]
        module = tf.Module()
        module.stored = [StoredWeight(weight, kind) for weight in weights]
        module.dequantized = DequantizedWeights(dict(enumerate(module.stored)))
        module.first = tf.function(lambda: module.dequantized.read([0])[0], input_signature=[])
        module.all = tf.function(
            lambda: dict(zip(values, module.dequantized.read(range(3)), strict=True)), input_signature=[]
        )
        expected = [weight.value().numpy() for weight in module.stored]
        tf.saved_model.save(module, str(tmp_path), signatures=module.all)

        # As TensorFlow Serving loads it.
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
            outputs = graph.signature_def["serving_default"].outputs
            found = session.run([outputs[name].name for name in values])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)

        dropped, kept = tf.saved_model.load(str(tmp_path)), tf.saved_model.load(str(tmp_path))
        first = dropped.first
        np.testing.assert_array_equal(first(), expected[0])
        dropped.dequantized._destroy_resource()  # as when `dropped` is dropped
        with pytest.raises(tf.errors.FailedPreconditionError):
            first()
        found = kept.all()
        for name, other in zip(values, expected, strict=True):
            np.testing.assert_array_equal(found[name], other)


def test_the_tokenizer_equals_the_vocabulary(session_data):
    vocabulary = Vocabulary.load(vocabulary_path(session_data, "session"))
    tokenizer = Tokenizer(vocabulary)
    rng = np.random.default_rng(0)
    letters = [
        *"abcd  \t\n\0\ufeff",
        "\u2581",
        "\U0010ffff",
        "\U0010ffff0",
        "\u6f22",
        "e\u0301",
        "\U0001f600",
        "</s>",
        "<0x41>",
    ]
    texts = ["", *("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(300))]
    ids = [vocabulary.encode(text) for text in texts]
    assert tokenizer.encode(tf.constant(texts)).to_list() == ids
    # Random ids, with bytes that are not text, end tokens and padding.
    rows = rng.integers(0, vocabulary.size, (300, 12))
    rows[rng.random(rows.shape) < 0.1] = 0
    found = [text.decode() for text in tokenizer.decode(tf.constant(rows, tf.int32)).numpy()]
    assert found == [vocabulary.decode(row) for row in rows.tolist()]
