"""Problems with several inputs: data, batches, the model, training, decoding, export and server."""

import io
import itertools
import random

import numpy as np
import pytest
import tensorflow as tf
from checks import SMALL, close, eagerly, floats
from PIL import Image as PilImage

import t2t_lite
from t2t_lite import registry
from t2t_lite.bin import decoder, exporter, inspect, trainer
from t2t_lite.bin import eval as eval_command
from t2t_lite.data import lengths, record_index
from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.data.manifest import Manifest
from t2t_lite.data.raw_pairs import stored_pairs
from t2t_lite.data.reading import Dataset
from t2t_lite.data.record_index import RecordIndex
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate
from t2t_lite.decoding.search import fingerprints
from t2t_lite.errors import UserError
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Image, Label, Problem, Text
from t2t_lite.problems.problem import get_problem
from t2t_lite.serving.model import ExportedModel

_TEXT = Text(vocab="two", vocab_size=280, max_length=8)
_COLOURS = {"blue": (30, 30, 220), "red": (220, 30, 30)}


class Asked(Problem):
    """A picture of one colour and the word `colour` or `shape`, to the colour or to `square`."""

    inputs = (Image(rows=8, columns=8), _TEXT)
    targets = Text(vocab="two", vocab_size=280, max_length=12)
    command = "answer"
    metrics = ("wer",)

    def examples(self, split, raw_dir):
        draw = random.Random(split)
        for _ in range(300 if split == "train" else 20):
            colour, question = draw.choice(list(_COLOURS)), draw.choice(["colour", "shape"])
            picture = np.full((8, 8, 3), _COLOURS[colour], np.uint8)
            yield {"inputs": (picture, question), "targets": colour if question == "colour" else "square"}


class Compared(Problem):
    """Two sentences to whether they are the same."""

    inputs = [_TEXT, _TEXT]  # noqa: RUF012
    targets = Label(("no", "yes"))

    def examples(self, split, raw_dir):
        for a, b in itertools.product(["x", "x y", "x y z", "x y z x y z x y z"], repeat=2):
            yield {"inputs": [a, b], "targets": "yes" if a == b else "no"}


class Single(Problem):
    """One sentence."""

    inputs = targets = _TEXT
    command = "answer"

    def examples(self, split, raw_dir):
        yield {"inputs": "x", "targets": "y"}


@pytest.fixture(scope="module", autouse=True)
def registered():
    with registry.problems.temporary():
        for each in (Asked, Compared, Single):
            registry.problems.register(each)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "data"
    generate(["asked", "compared", "single"], folder, folder, num_workers=1)
    return folder


def test_records_and_index_hold_each_input(data):
    manifest = Manifest.load(data, "asked")
    assert [each["kind"] for each in manifest.declaration["inputs"]] == ["Image", "Text"]
    assert set(manifest.splits["train"].lengths) == {"inputs_0", "inputs_1", "targets"}
    problem, split = Dataset.open(data, "compared").problem, Manifest.load(data, "compared").splits["dev"]
    index = RecordIndex.open(data, problem, "dev", split)
    tokens = {"x": 1, "x y": 2, "x y z": 3}
    expected = [a + 1 + b + 1 for a, b in itertools.product(tokens.values(), repeat=2)]
    fits = index.inputs[index.fits]
    assert len(fits) == 9
    assert np.all(np.diff(fits.reshape(3, 3)) > 0)  # positions add up
    assert len(expected) == 9
    assert split.too_long == 7
    rebuilt = record_index.build(data, problem, split.shards)
    assert np.array_equal(RecordIndex.from_rows(problem, split, [rebuilt]).inputs, index.inputs)


def test_stored_examples_are_read_back_as_tuples(data):
    pairs = list(stored_pairs(Dataset.open(data, "asked"), data, "dev", 3))
    expected = list(Asked("asked").examples("dev", None))[:3]
    for ((picture, question), target), example in zip(pairs, expected, strict=True):
        assert (question, target) == (example["inputs"][1], example["targets"])
        np.testing.assert_array_equal(PilImage.open(io.BytesIO(picture)), example["inputs"][0])


def test_batches_have_each_input_padded_to_its_own_longest(data):
    dataset = Dataset.open(data, "compared")
    batches = list(dataset.batches("dev", SMALL.replace(batch_tokens=64)))
    assert sum(len(batch["index"]) for batch in batches) == 16
    for batch in batches:
        for key in ("inputs_0", "inputs_1"):
            ids = batch[key].numpy()
            assert ids.shape[1] == max((row != 0).sum() for row in ids)
    texts = {}
    for batch in batches:
        for index, *rows in zip(*(batch[key].numpy() for key in ("index", "inputs_0", "inputs_1")), strict=True):
            texts[int(index)] = [dataset.vocabularies["two"].decode(row) for row in rows]
    assert texts[1] == ["x", "x y"]
    made = dataset.inputs_batch([("x", "x y"), ("x y z", "x")])
    assert sorted(made) == ["inputs_0", "inputs_1"]
    with pytest.raises(UserError, match="inputs: expected a tuple of 2 values, got x"):
        dataset.inputs_batch(["x"])


def test_pictures_count_beside_the_text_in_batch_sizes():
    problem = get_problem("asked")
    hparams = SMALL.replace(batch_tokens=96, image_strides=2, fine_buckets=True)
    assert lengths.picture_positions(problem, hparams) == 4
    sizes = lengths.batch_sizes(problem, hparams)
    assert sizes == {boundary: 96 // (boundary + 4) for boundary in sizes}
    assert {key: tuple(x.shape) for key, x in blank_batch(problem, 2, 12).items()} == {
        "inputs_0": (2, 8, 8, 3),
        "inputs_1": (2, 8),
        "targets": (2, 12),
    }


def model_of(*names):
    return MultiModel(SMALL, {name: get_problem(name) for name in names}, {"two": 30})


@pytest.fixture(scope="module")
def model(registered):
    with eagerly():
        yield model_of("asked", "compared", "single")


def asked_batch():
    rng = np.random.default_rng(0)
    ids = tf.constant([[5, 6, 7, 1], [8, 1, 0, 0]])
    return {"inputs_0": tf.constant(rng.random((2, 8, 8, 3)), tf.float32), "inputs_1": ids, "targets": ids[:, ::-1]}


def test_parts_stand_one_after_the_other_with_an_embedding_of_their_place(model):
    batch = asked_batch()
    embedded = model._embed_inputs("asked", batch)
    picture = model.net(Asked.inputs[0]).embed_inputs(batch["inputs_0"])
    text = model.net(_TEXT).embed_inputs(batch["inputs_1"])
    places = model.places.numpy()
    close(floats(embedded.x), np.concatenate([floats(picture.x) + places[0], floats(text.x) + places[1]], axis=1))
    assert embedded.valid.numpy().tolist() == [[True] * 8, [True] * 6 + [False] * 2]
    assert embedded.grid.numpy().tolist() == [8, 1]
    longer = batch | {"inputs_1": tf.pad(batch["inputs_1"], [[0, 0], [0, 3]])}
    close(model.score("asked", longer).loss, model.score("asked", batch).loss)  # padding changes nothing


def test_each_input_gets_gradients_and_counts_as_a_part(model):
    batch = asked_batch()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.score("asked", batch).loss)
    parts = model.parts("asked")
    assert {"places", "image", "language_two"} <= set(parts)
    gradients = tape.gradient(loss, [model.places, *parts["image"], *parts["language_two"]])
    assert all(gradient is not None for gradient in gradients)
    assert "places" not in model.parts("single")
    assert model_of("single").places is None  # such models have the weights that they always had
    logits = model.classify("compared", {"inputs_0": batch["inputs_1"], "inputs_1": batch["inputs_1"]})
    assert logits.shape == (2, 2)


def test_random_draws_depend_on_every_input():
    batch = asked_batch()
    other = batch | {"inputs_1": batch["inputs_1"] + tf.constant([[1], [0]])}
    assert (fingerprints(batch) == fingerprints(other)).numpy().tolist() == [False, True]
    padded = batch | {"inputs_1": tf.pad(batch["inputs_1"], [[0, 0], [0, 3]])}
    assert np.array_equal(fingerprints(padded), fingerprints(batch))


# A run of a few steps, and the commands on it.


@pytest.fixture(scope="module")
def run_dir(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "run"
    small = {key: getattr(SMALL, key) for key in ("hidden_size", "filter_size", "num_heads", "encoder_blocks")}
    small |= {"mixer_blocks": 1, "decoder_blocks": 1, "num_experts": 2, "categorical_width": 12, "image_width": 4}
    values = ",".join(f"{key}={value}" for key, value in small.items())
    flags = ["--problem=asked,compared", "--hparams_set=multimodel_tiny", f"--data_dir={data}", "--train_steps=4"]
    flags += [f"--hparams={values},batch_tokens=256", f"--output_dir={folder}", "--eval_every=4", "--eval_steps=1"]
    assert trainer.main([*flags, "--dry_run"]) == 0
    assert trainer.main(flags) == 0
    return folder


@pytest.mark.slow
def test_training_evaluating_and_inspecting(run_dir, data, tmp_path, capsys):
    flags = ["--problem=asked,compared", f"--data_dir={data}"]
    assert eval_command.main([*flags, f"--output_dir={run_dir}"]) == 0
    table = capsys.readouterr().out
    assert "asked" in table
    assert "WER" in table
    assert inspect.main([*flags, "--split=dev", f"--out_dir={tmp_path}"]) == 0
    text = capsys.readouterr().out
    assert "inputs_0 (picture, 8 x 8)" in text
    assert "inputs_1 Text" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked-dev-inputs_0.png"]


@pytest.mark.slow
def test_decoding_lines_of_several_inputs(run_dir, data, tmp_path, capsys):
    PilImage.new("RGB", (8, 8), _COLOURS["red"]).save(tmp_path / "red.png")
    lines = tmp_path / "in.txt"
    lines.write_text(f"{tmp_path}/red.png\tcolour\n{tmp_path}/red.png\tshape\n")
    flags = ["--problem=asked", f"--data_dir={data}", f"--output_dir={run_dir}"]
    flags += [f"--decode_from_file={lines}", f"--decode_to_file={tmp_path}/out.txt"]
    assert decoder.main(flags) == 0
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 2
    lines.write_text(f"{tmp_path}/red.png\n")
    assert decoder.main(flags) == 1
    assert (
        "in.txt:1: expected the path of a picture and, after a tab, a sentence, got 1 parts" in capsys.readouterr().err
    )
    assert decoder.main(["--show=1", *flags[:3]]) == 0
    assert "input      (picture 0 of the dev split, 8 x 8) + " in capsys.readouterr().out


@pytest.mark.slow
def test_an_export_answers_as_the_decoder_does(run_dir, data, tmp_path):
    export = tmp_path / "export"
    flags = ["--problem=asked,compared", f"--output_dir={run_dir}"]
    assert exporter.main([*flags, f"--export_dir={export}"]) == 0
    PilImage.new("RGB", (8, 8), _COLOURS["red"]).save(tmp_path / "red.png")
    model = ExportedModel(export)
    rows = {
        "asked": {"inputs_0": (tmp_path / "red.png").read_bytes(), "inputs_1": b"colour"},
        "compared": {"inputs_0": b"x y", "inputs_1": b"x"},
    }
    texts = {"asked": f"{tmp_path}/red.png\tcolour\n", "compared": "x y\tx\n"}
    for name, row in rows.items():
        (tmp_path / "in.txt").write_text(texts[name])
        files = [f"--decode_from_file={tmp_path}/in.txt", f"--decode_to_file={tmp_path}/out.txt"]
        assert decoder.main([f"--problem={name}", f"--data_dir={data}", flags[1], *files]) == 0
        answer = model.predict(name, {key: [value] for key, value in row.items()})
        assert answer["outputs"][0, 0].decode() == (tmp_path / "out.txt").read_text().rstrip("\n")
        assert not answer["too_long"][0]
    loaded = t2t_lite.load_export(export)
    for given in ((tmp_path / "red.png", "colour"), f"{tmp_path}/red.png\tcolour"):
        (found,) = loaded.answer("asked", [given])
        wanted = model.predict("asked", {key: [value] for key, value in rows["asked"].items()})
        assert found.text == wanted["outputs"][0, 0].decode()
    with pytest.raises(t2t_lite.UserError, match=r"inputs\[0\]: expected the path of a picture and"):
        loaded.answer("asked", ["colour"])
    attention = model.predict(
        "asked/attention", {key: [value] for key, value in (rows["asked"] | {"outputs": b"red"}).items()}
    )
    assert attention["weights"].shape[2] == attention["input_pieces"].shape[1]
    vocabulary = Vocabulary.load(vocabulary_path(data, "two"))
    expected = [vocabulary.piece(i).replace("\u2581", " ") for i in vocabulary.encode("colour")]
    pieces = [piece.decode() for piece in attention["input_pieces"][0]]
    assert pieces == [""] * (len(pieces) - len(expected) - 1) + expected + [""]  # the picture, the text, its end
    assert model.kind("asked", "inputs_0") == "image"


def test_the_questions_of_microworld_are_answered_by_the_picture():
    from t2t_lite.problems.microworld.questions import ask
    from t2t_lite.problems.microworld.scene import Scene, Thing

    scene = Scene((Thing("star", "red", "small", 0, 0), Thing("ring", "red", "small", 0, 2)), "grey")
    asked = dict(ask(scene, random.Random(seed)) for seed in range(200))
    assert asked["How many shapes are there?"] == "two"
    assert asked["What colour is the ring?"] == "red"
    assert not any(question == "Which shape is red?" for question in asked)
    assert (asked["Is there a star?"], asked["Is there a moon?"]) == ("yes", "no")
    assert (asked["Is anything red?"], asked["Is anything blue?"]) == ("yes", "no")
    problem = get_problem("microworld_question")
    first = problem.convert(next(problem.items("dev")))
    picture, question = first["inputs"]
    assert picture().shape == (32, 32, 3)
    assert question.endswith("?")
    assert "microworld_question" not in registry.mixtures.get("microworld").rates
