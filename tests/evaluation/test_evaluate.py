"""`evaluate` over a model and a dataset with figures that can be counted by hand."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.decoding.decode import answer_batch
from t2t_lite.decoding.search import Decoded
from t2t_lite.errors import UserError
from t2t_lite.evaluation import metrics
from t2t_lite.evaluation.evaluate import evaluate, target_texts
from t2t_lite.hparams import HParams
from t2t_lite.problems import Label, Problem, Text

VOCABULARY = 8
WORDS = dict(enumerate("_.abcdef"))  # padding, end, six words


class FakeVocabulary:
    def decode(self, ids):
        return " ".join(WORDS[i] for i in ids if i > 1)


class FakeModel:
    """Ranks the tokens of each target as the batch says; a loss of 0.5 a target."""

    def score(self, name, batch):
        targets = batch["targets"]
        weights = tf.cast(targets != 0, tf.float32) if targets.shape.rank == 2 else tf.ones(tf.shape(targets))
        return SimpleNamespace(logits=batch["logits"], loss=0.5 * weights, weights=weights)


class FakeDataset:
    def __init__(self, batches, targets=None, metrics=(), too_long=0):
        self.problem = Problem("fake")
        self.problem.inputs, self.problem.targets, self.problem.metrics = Text(), targets or Text("words"), metrics
        self.vocabularies = {"words": FakeVocabulary()}
        self.made, self.too_long, self.asked = batches, too_long, []

    @contextlib.contextmanager
    def reading(self):
        yield

    def split(self, name):
        return SimpleNamespace(too_long=self.too_long if name == "dev" else 0)

    def batches(self, split, hparams, references=False):
        self.asked.append((split, references))
        batches = [dict(batch) for batch in self.made]
        for batch in batches:
            if not references:
                batch.pop("references", None)
        return FakeBatches(batches)


class FakeBatches(list):
    def take(self, count):
        return self[:count]


class FakeDecoder:
    """Gives the answers of the batch; remembers the limits that it was given."""

    answers = 1

    def __init__(self):
        self.limits = []

    def __call__(self, name, batch, max_length):
        self.limits.append(max_length)
        ids = batch["answers"]
        ended = tf.reduce_any(ids == 1, axis=1)
        return Decoded(ids, tf.zeros([len(ids)]), ended)


def logits(targets, ranks, classes=VOCABULARY):
    """Logits that put each target at the given rank, 0 being the best."""
    targets, ranks = np.asarray(targets), np.asarray(ranks)
    made = np.zeros((*targets.shape, classes), np.float32)
    for place in np.ndindex(targets.shape):
        others = [c for c in range(classes) if c != targets[place]]
        order = [*others[: ranks[place]], targets[place], *others[ranks[place] :]]
        made[place][order] = -np.arange(classes)
    return tf.constant(made)


def batch_of(targets, ranks, **others):
    made = {"targets": tf.constant(targets, tf.int32), "logits": logits(targets, ranks)}
    return made | {key: tf.constant(value, tf.int32) for key, value in others.items()}


# Of 8 targets 5 are right and 7 among the best five; of 4 sentences the second and the fourth are right.
BATCHES = [
    batch_of([[2, 3, 1], [4, 1, 0]], [[0, 4, 0], [0, 0, 3]]),
    batch_of([[5, 1], [1, 0]], [[5, 1], [0, 6]]),
]


def test_teacher_forced_figures_are_over_targets_and_sentences():
    found = evaluate(FakeModel(), {"fake": FakeDataset(BATCHES)}, HParams())["fake"]
    assert found == {
        "examples": 4,
        "loss": 0.5,
        "log_perplexity": 0.5,
        "accuracy": pytest.approx(5 / 8),
        "accuracy_top5": pytest.approx(7 / 8),
        "accuracy_per_sequence": pytest.approx(2 / 4),
    }


def test_eval_steps_bound_the_batches_and_each_is_announced():
    dataset, announced = FakeDataset(BATCHES, too_long=3), []
    found = evaluate(
        FakeModel(), {"fake": dataset}, HParams(), "dev", 1, before_batch=lambda: announced.append(len(announced))
    )["fake"]
    assert found["examples"] == 2 and found["accuracy"] == pytest.approx(4 / 5)
    assert announced == [0]
    assert dataset.asked == [("dev", False)]
    assert found["too_long"] == 3
    assert "too_long" not in evaluate(FakeModel(), {"fake": dataset}, HParams(), "train")["fake"]


def test_classes_have_one_target_an_example_and_fewer_than_five_are_all_in_the_top_five():
    classes = Label(("cat", "dog", "sun"))
    batch = {"targets": tf.constant([2, 0, 1], tf.int32), "logits": logits([2, 0, 1], [0, 2, 1], 3)}
    found = evaluate(FakeModel(), {"fake": FakeDataset([batch], classes)}, HParams())["fake"]
    assert found["examples"] == 3 and found["loss"] == 0.5
    assert found["accuracy"] == found["accuracy_per_sequence"] == pytest.approx(1 / 3)
    assert found["accuracy_top5"] == 1.0


def test_decoded_answers_are_scored_against_the_whole_references_and_their_faults_counted():
    decoded = [
        batch_of([[2, 1]], [[0, 0]], answers=[[2, 3, 1]], references=[[2, 4, 1]]),  # "a b" for "a c"
        batch_of([[2, 1], [3, 1]], [[0, 0]] * 2, answers=[[1, 0], [3, 5]], references=[[2, 1], [3, 5]]),
    ]
    dataset, decoder = FakeDataset(decoded, metrics=("wer",)), FakeDecoder()
    found = evaluate(FakeModel(), {"fake": dataset}, HParams(), decoder=decoder, max_length=9)["fake"]
    assert found["wer"] == pytest.approx(2 / 5)
    assert (found["answers_cut"], found["answers_empty"]) == (1, 1)
    assert decoder.limits == [9, 9] and dataset.asked == [("dev", True)]
    evaluate(FakeModel(), {"fake": dataset}, HParams(), decoder=decoder)
    assert decoder.limits[2:] == [Text().max_length] * 2


def test_nothing_is_decoded_without_a_decoder_or_a_metric():
    batch = batch_of([[2, 1]], [[0, 0]], answers=[[2, 1]], references=[[2, 1]])
    for names, decoder in (((), FakeDecoder()), (("wer",), None)):
        dataset = FakeDataset([batch], metrics=names)
        found = evaluate(FakeModel(), {"fake": dataset}, HParams(), decoder=decoder)["fake"]
        assert found.keys().isdisjoint({"wer", "answers_cut", "answers_empty"})
        assert dataset.asked == [("dev", False)]
        assert not (decoder and decoder.limits)


def test_references_are_texts():
    assert target_texts(FakeDataset([]), tf.constant([[2, 5, 1], [3, 1, 0]])) == ["a d", "b"]


def test_a_decoder_of_two_answers_has_the_second_as_an_alternative():
    decoder = FakeDecoder()
    decoder.answers = 2
    batch = {"answers": tf.constant([[2, 1], [3, 1], [4, 5], [5, 1]])}
    answers = answer_batch(decoder, FakeDataset([]), batch, 7)
    assert [(a.text, a.finished, [(b.text, b.finished) for b in a.alternatives]) for a in answers] == [
        ("a", True, [("b", True)]),
        ("c d", False, [("d", True)]),
    ]


def test_metrics_are_checked_where_a_problem_names_some():
    problem = Problem("p")
    for targets, names in ((Text(), ("wer", "bleu")), (Text(), ()), (Label(("cat", "dog")), ())):
        problem.targets, problem.metrics = targets, names
        metrics.check(problem)
    problem.metrics = ("wer",)
    with pytest.raises(UserError, match="problem 'p': metrics"):
        metrics.check(problem)
