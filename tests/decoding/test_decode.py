"""Answers of a run: which search, in what batches, and what is said of each. Model, run and data are stand-ins."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.decoding import decode
from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.decode import Answerer, answer_batch, feature_text, make_decoder, show_examples
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.decoding.sampling import SamplingDecoder
from t2t_lite.decoding.search import Decoded
from t2t_lite.errors import UserError
from t2t_lite.problems import Audio, Image, Label, Problem, Text

END = 1


class Letters:
    """A vocabulary of single letters: a is 2, b is 3, ..."""

    def encode(self, text):
        return [ord(c) - ord("a") + 2 for c in text.replace(" ", "")]

    def decode(self, ids):
        return "".join(chr(i - 2 + ord("a")) for i in ids if i > END)


class FakeDataset:
    def __init__(self, inputs, targets, metrics=(), examples=()):
        self.problem = Problem("fake")
        self.problem.inputs, self.problem.targets, self.problem.metrics = inputs, targets, metrics
        self.vocabularies = {"letters": Letters()}
        self.examples, self.batch_sizes = examples, []

    def inputs_batch(self, values):
        self.batch_sizes.append(len(values))
        if any(value == "bad" for value in values):
            raise tf.errors.InvalidArgumentError(None, None, "cannot be decoded")
        ids = [self.vocabularies["letters"].encode(value) for value in values]
        longest = max(map(len, ids), default=0)
        return {"inputs": tf.constant([row + [0] * (longest - len(row)) for row in ids], tf.int32)}

    @contextlib.contextmanager
    def reading(self):
        yield

    def batches(self, split, hparams):
        assert split == "dev"
        columns = {key: [example[key] for example in self.examples] for key in self.examples[0]}
        return tf.data.Dataset.from_tensor_slices(columns).batch(2)


class Echo:
    """Answers with the input, `answers` times; what begins with z is cut."""

    def __init__(self, model, answers=1):
        self.model, self.answers, self.limits = model, answers, []

    def __call__(self, name, batch, max_length):
        self.limits.append(max_length)
        ids = tf.repeat(batch["inputs"], self.answers, axis=0)
        scores = -0.5 - tf.range(len(ids), dtype=tf.float32)
        return Decoded(ids, scores, ids[:, 0] != Letters().encode("z")[0])


LETTERS = Text("letters", max_length=5)


@pytest.fixture
def answerer(monkeypatch):
    """Makes an Answerer of a fake run."""

    def make(dataset, hparams="", **options):
        hparams = DecodeHParams.parse(hparams)
        run = SimpleNamespace(
            open_datasets=lambda data_dir, names: {"fake": dataset}, build_model=lambda: "model", hparams="hparams"
        )
        restored = SimpleNamespace(restore_weights=lambda step: step)
        monkeypatch.setattr(decode, "Run", SimpleNamespace(open=lambda output_dir: run))
        monkeypatch.setattr(decode, "Checkpoints", lambda output_dir, model: restored)
        monkeypatch.setattr(decode, "chosen_step", lambda output_dir, checkpoint: (output_dir, checkpoint))
        make.decoder = Echo("model", hparams.return_beams)
        monkeypatch.setattr(decode, "make_decoder", lambda model, hparams: make.decoder)
        return Answerer(["fake"], "data", "run", hparams, **options)

    return make


@pytest.mark.parametrize(
    "text,kind,fields",
    [
        ("", GreedyDecoder, {"answers": 1}),
        ("return_beams=2", GreedyDecoder, {"answers": 1}),  # of classes
        ("beam_size=2", BeamDecoder, {"beam_size": 2, "alpha": 0.6, "answers": 1}),
        ("beam_size=4,alpha=1,return_beams=3", BeamDecoder, {"beam_size": 4, "alpha": 1.0, "answers": 3}),
        ("sampling=true,return_beams=2,seed=3", SamplingDecoder, {"answers": 2, "seed": 3}),
    ],
)
def test_the_search_that_the_hparams_name(text, kind, fields):
    decoder = make_decoder("model", DecodeHParams.parse(text))
    assert type(decoder) is kind and decoder.model == "model"
    assert {name: getattr(decoder, name) for name in fields} == fields


def test_inputs_are_answered_in_order_in_batches_of_the_size_asked_for(answerer):
    dataset = FakeDataset(LETTERS, LETTERS)
    made = answerer(dataset, "batch_size=2")
    answers = list(made.answer("fake", {"1": "ab", "2": "c", "3": "zz"}))
    assert [(a.text, a.finished, a.input_cut) for a in answers] == [
        ("ab", True, False),
        ("c", True, False),
        ("zz", False, False),
    ]
    assert dataset.batch_sizes == [2, 1]
    assert made.step == ("run", "latest")
    assert answerer.decoder.limits == [LETTERS.max_length] * 2
    (answer,) = answerer(dataset, "max_length=3").answer_batch("fake", dataset.inputs_batch(["abc"]))
    assert answer.text == "abc" and answerer.decoder.limits == [3]


def test_the_length_limit_is_that_of_the_hparams_before_that_of_the_problem():
    dataset, echo = FakeDataset(LETTERS, LETTERS), Echo("model")
    for limit in (0, 1, 3):
        answer_batch(echo, dataset, dataset.inputs_batch(["ab"]), limit)
    assert echo.limits == [LETTERS.max_length, 1, 3]


def test_a_text_without_words_gets_empty_answers(answerer):
    made = answerer(FakeDataset(LETTERS, LETTERS), "return_beams=2,sampling=true")
    first, blank = made.answer("fake", {"1": "zb", "2": "  "})
    assert (first.text, [other.text for other in first.alternatives]) == ("zb", ["zb"])
    assert (blank.text, blank.score, blank.finished) == ("", 0.0, True)
    (other,) = blank.alternatives
    assert (other.text, other.score, other.finished, other.alternatives) == ("", 0.0, True, ())


def test_an_input_longer_than_the_network_takes_is_marked_as_cut(answerer):
    made = answerer(FakeDataset(LETTERS, LETTERS))  # 4 tokens and the end token
    assert [answer.input_cut for answer in made.answer("fake", {"1": "abcd", "2": "abcde"})] == [False, True]


def test_an_input_that_tensorflow_refuses_is_named(answerer):
    made = answerer(FakeDataset(LETTERS, LETTERS))
    for place, message in (("in:2", "^in:2: cannot be decoded$"), ("", "^cannot be decoded$")):
        with pytest.raises(UserError, match=message):
            list(made.answer("fake", {"in:1": "ab", place: "bad"}))


def test_texts_need_beams_for_their_answers_and_classes_do_not(answerer):
    classes = FakeDataset(Image(2, 2), Label(("cat", "dog")))
    answerer(classes, "return_beams=2")
    with pytest.raises(UserError, match="needs at least beam_size=2"):
        answerer(FakeDataset(LETTERS, LETTERS), "return_beams=2")


def test_brackets_are_for_trees_of_sentences(answerer):
    tree = FakeDataset(LETTERS, LETTERS, ("tree",))
    assert answerer(tree, brackets=True).brackets
    assert not answerer(tree).brackets
    for refused in (FakeDataset(LETTERS, LETTERS, ("wer",)), FakeDataset(Image(2, 2), LETTERS, ("tree",))):
        answerer(refused)
        with pytest.raises(UserError, match="--brackets: problem 'fake'"):
            answerer(refused, brackets=True)


def test_brackets_stand_over_the_words_of_the_input_in_alternatives_too(answerer, monkeypatch):
    monkeypatch.setattr(decode.trees, "bracketed", lambda text, sentence: f"({text} {sentence})")
    made = answerer(FakeDataset(LETTERS, LETTERS, ("tree",)), "return_beams=2,sampling=true", brackets=True)
    first, blank = made.answer("fake", {"1": "a b", "2": " "})
    assert (first.text, first.alternatives[0].text) == ("(ab a b)", "(ab a b)")
    assert (blank.text, blank.alternatives[0].text) == ("", "")


def test_classes_are_ranked():
    model = SimpleNamespace(classify=lambda name, batch: tf.math.log(batch["chances"]))
    dataset = FakeDataset(Image(2, 2), Label(("cat", "dog", "sun")))
    batch = {"chances": tf.constant([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])}
    (one,) = {len(answer.alternatives) for answer in answer_batch(Echo(model), dataset, batch)}
    assert one == 0
    first, second = answer_batch(Echo(model), dataset, batch, classes=2)
    assert (first.text, first.alternatives[0].text) == ("dog", "cat")
    assert (second.text, second.alternatives[0].text) == ("cat", "sun")
    assert np.exp(first.score) == pytest.approx(0.7) and first.finished and first.alternatives[0].finished
    assert len(answer_batch(Echo(model), dataset, batch, classes=9)[0].alternatives) == 2


def test_examples_are_shown_in_the_order_of_the_split(answerer, capsys):
    rows = {"c": 2, "zb": 1, "a": 0}
    examples = [
        {"inputs": [*Letters().encode(text), 0][:2], "targets": Letters().encode("x"), "index": index}
        for text, index in rows.items()
    ]
    dataset = FakeDataset(LETTERS, LETTERS, examples=examples)
    made = answerer(dataset, "return_beams=2,sampling=true")
    show_examples(made, [dataset.problem], count=2)
    assert capsys.readouterr().out.splitlines() == [
        *("", "fake"),
        *("  input      a", "  reference  x", "  answer     a", "  answer     a", ""),
        *("  input      zb", "  reference  x"),
        *["  answer     zb [reached the length limit]"] * 2,
        "",
    ]


def test_what_is_shown_of_each_kind_of_data():
    dataset = FakeDataset(Image(2, 2), Label(("cat", "dog")))
    batch = {"inputs": tf.zeros([2, 3, 4, 3]), "targets": tf.constant([0, 1])}
    assert feature_text(dataset, "inputs", batch, 1, 7) == "(picture 7 of the dev split, 3 x 4)"
    assert [feature_text(dataset, "targets", batch, row, 0) for row in (0, 1)] == ["cat", "dog"]
    sounds = FakeDataset(Audio(100), LETTERS)
    batch = {"inputs": tf.zeros([2, 90]), "inputs_length": tf.constant([90, 50])}
    assert feature_text(sounds, "inputs", batch, 1, 3) == "(sound 3 of the dev split, 0.5 s)"
