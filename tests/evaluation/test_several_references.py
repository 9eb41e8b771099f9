"""Pictures with several captions: each is decoded once and scored against all its captions."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import sacrebleu
import tensorflow as tf
from PIL import Image as PilImage
from reference import dense_cider_d

from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.decoding.search import Decoded
from t2t_lite.errors import UserError
from t2t_lite.evaluation import metrics
from t2t_lite.evaluation.evaluate import combine_shares, evaluate, evaluate_share
from t2t_lite.evaluation.report import format_report
from t2t_lite.hparams import HParams
from t2t_lite.problems import Audio, Image, Problem, Text

HPARAMS = HParams(batch_max_examples=4, batch_tokens=1 << 14)
PICTURES = 12
COUNTS = [5] * 10 + [4, 1]  # captions of each picture
SIDE = 16


def caption_of(picture, number):
    """A caption in words of their own lengths; the captions of a picture are similar."""
    rng = np.random.default_rng([picture, number])
    words = ["a", f"dog{picture % 7}", "runs", f"to{picture % 3}", "the", f"house{picture}", "and", "sleeps"]
    return " ".join(word for word in words if rng.random() < 0.8) or "a"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """caption_files.many: the lines of a picture are not adjacent. caption_files.one: one line for each picture."""
    folder = tmp_path_factory.mktemp("captions")
    for source, counts in (("many", COUNTS), ("one", [1] * PICTURES)):
        raw = folder / "raw" / source
        raw.mkdir(parents=True)
        for picture in range(PICTURES):
            pixels = np.full((SIDE, SIDE, 3), 8 * picture, np.uint8)
            PilImage.fromarray(pixels).save(raw / f"{picture}.png")
        lines = [
            f"{picture}.png\t{caption_of(picture, number)}\n"
            for number in range(max(counts))
            for picture in range(PICTURES)
            if number < counts[picture]
        ]
        for split in ("train", "dev"):
            (raw / f"{split}.tsv").write_text("".join(lines))
    generate(["caption_files.many", "caption_files.one"], folder / "data", folder / "raw", num_workers=1)
    return folder / "data"


class FakeModel:
    def score(self, name, batch):
        targets = batch["targets"]
        weights = tf.cast(targets != 0, tf.float32)
        return SimpleNamespace(logits=tf.one_hot(targets, 400), loss=0.1 * weights, weights=weights)


class FakeDecoder:
    """Answers with a caption of the picture that is not among its references; keeps the pictures it was given."""

    answers = 1

    def __init__(self, dataset):
        self.vocabulary = dataset.vocabularies[dataset.problem.targets.vocab]
        self.pictures, self.calls = [], 0

    def __call__(self, name, batch, max_length):
        shades = np.rint(batch["inputs"].numpy().mean(axis=(1, 2, 3)) / 8).astype(int).tolist()
        self.pictures += shades
        self.calls += 1
        rows = [[*self.vocabulary.encode(caption_of(picture, 99)), 1] for picture in shades]
        ids = tf.ragged.constant(rows, tf.int32).to_tensor()
        return Decoded(ids, tf.zeros([len(rows)]), tf.ones([len(rows)], tf.bool))


def evaluated(data_dir, name, eval_steps=None):
    dataset = Dataset.open(data_dir, name)
    decoder = FakeDecoder(dataset)
    scores = evaluate(FakeModel(), {name: dataset}, HPARAMS, "dev", eval_steps, decoder=decoder)[name]
    return scores, decoder


def expected(pictures):
    """BLEU and CIDEr-D of the pictures' answers, worked out from the texts."""
    answers = [caption_of(picture, 99) for picture in pictures]
    references = [[caption_of(picture, n) for n in range(COUNTS[picture])] for picture in pictures]
    streams = [[texts[n] if n < len(texts) else None for texts in references] for n in range(5)]
    cider_d = dense_cider_d(answers, references)
    return sacrebleu.corpus_bleu(answers, streams).score, sum(cider_d) / len(cider_d)


def test_each_picture_is_decoded_once_and_scored_against_all_captions(data_dir):
    scores, decoder = evaluated(data_dir, "caption_files.many")
    assert sorted(decoder.pictures) == list(range(PICTURES))
    assert decoder.calls < 10  # batches of 4, and the rests of the buckets
    bleu, cider_d = expected(range(PICTURES))
    assert scores["bleu"] == pytest.approx(bleu, abs=1e-9) and 20 < bleu < 100
    assert scores["cider_d"] == pytest.approx(cider_d, abs=1e-9) and cider_d > 1
    assert "nrefs:var" in scores["bleu_signature"]
    assert scores["examples"] == sum(COUNTS) and scores["answers"] == PICTURES
    assert scores["loss"] == pytest.approx(0.1)


def test_a_sample_of_pictures_is_scored_against_all_their_captions(data_dir):
    scores, decoder = evaluated(data_dir, "caption_files.many", eval_steps=2)
    assert len(set(decoder.pictures)) == len(decoder.pictures) == scores["answers"] <= 8
    assert 1 < scores["examples"] <= 8  # teacher-forced: captions
    bleu, cider_d = expected(decoder.pictures)
    assert scores["bleu"] == pytest.approx(bleu, abs=1e-9)
    assert scores["cider_d"] == pytest.approx(cider_d, abs=1e-9)
    assert decoder.pictures == evaluated(data_dir, "caption_files.many", eval_steps=2)[1].pictures


@pytest.mark.parametrize("eval_steps", [None, 2])
def test_shares_of_workers_make_the_same_scores(data_dir, eval_steps):
    name = "caption_files.many"
    datasets = {name: Dataset.open(data_dir, name)}
    expected, whole = evaluated(data_dir, name, eval_steps)
    decoders = [FakeDecoder(datasets[name]) for _ in range(2)]
    shares = [
        evaluate_share([(FakeModel(), decoder)], datasets, HPARAMS, "dev", eval_steps, part=(worker, 2))
        for worker, decoder in enumerate(decoders)
    ]
    assert combine_shares(shares, datasets)[name] == expected
    assert sorted(decoders[0].pictures + decoders[1].pictures) == sorted(whole.pictures)
    assert all(decoder.pictures for decoder in decoders)


def test_pictures_that_come_once_are_decoded_in_the_batches_that_are_scored(data_dir, monkeypatch):
    scores, decoder = evaluated(data_dir, "caption_files.one")
    monkeypatch.setattr(metrics, "has_several_references", lambda problem: False)
    others, other_decoder = evaluated(data_dir, "caption_files.one")
    assert scores == others and "answers" not in scores
    assert decoder.pictures == other_decoder.pictures
    assert "nrefs:1" in scores["bleu_signature"]


def test_the_warning_counts_answers_not_captions():
    row = {"examples": 150, "answers": 30, "loss": 1.0, "bleu": 2.0, "answers_cut": 3}
    assert "p: of 30 answers 3 reached the length limit" in format_report({"step": 1, "problems": {"p": row}})


def test_pictures_have_several_references_unless_a_metric_takes_one():
    problem = Problem("mine")
    for inputs, names, declared, several in (
        (Image(), ("bleu", "cider_d"), None, True),
        (Image(), ("bleu", "cer"), None, False),
        (Image(), ("bleu",), False, False),
        (Text(), ("bleu",), None, False),
        (Text(), ("bleu", "chrf"), True, True),
        (Audio(), ("wer",), None, False),
    ):
        problem.inputs, problem.targets, problem.metrics = inputs, Text(), names
        problem.several_references = declared
        metrics.check(problem)
        assert metrics.has_several_references(problem) == several
    problem.metrics, problem.several_references = ("bleu", "wer"), True
    with pytest.raises(UserError, match="problem 'mine': metric 'wer' scores an answer against one reference"):
        metrics.check(problem)


def test_groups_follow_the_stored_inputs(data_dir):
    dataset = Dataset.open(data_dir, "caption_files.many")
    groups = dataset.input_groups("dev")
    vocabulary = dataset.vocabularies[dataset.problem.targets.vocab]
    assert groups.is_first.tolist() == [True] * PICTURES + [False] * (sum(COUNTS) - PICTURES)
    assert {first: [vocabulary.decode(ids) for ids in rows] for first, rows in groups.targets.items()} == {
        picture: [caption_of(picture, n) for n in range(COUNTS[picture])] for picture in range(PICTURES)
    }
    assert dataset.input_groups("dev") is groups
    assert Dataset.open(data_dir, "caption_files.one").input_groups("dev").all_differ


def test_equal_sentences_are_grouped(tmp_path):
    raw = tmp_path / "raw" / "twice"
    raw.mkdir(parents=True)
    for split in ("train", "dev"):
        (raw / f"{split}.de").write_text("eine Katze\nzwei Hunde\neine Katze\n")
        (raw / f"{split}.en").write_text("one cat\ntwo dogs\na cat\n")
    generate(["translate_files.twice"], tmp_path / "data", tmp_path / "raw", num_workers=1)
    groups = Dataset.open(tmp_path / "data", "translate_files.twice").input_groups("dev")
    assert groups.is_first.tolist() == [True, True, False]
    assert [len(rows) for rows in groups.targets.values()] == [2, 1]


def test_a_damaged_record_is_named(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    (path,) = (tmp_path / "data").glob("caption_files.many-dev-*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path.name}.*damaged"):
        Dataset.open(tmp_path / "data", "caption_files.many").input_groups("dev")
