"""Evaluates a model on a split: teacher-forced metrics for every problem, and the metrics of decoded answers."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.decode import answer_batch
from t2t_lite.decoding.search import Decoder
from t2t_lite.evaluation import metrics
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import Text

_SAMPLE_SEED = 0  # draws the batches that eval_steps evaluates
TEACHER_FORCED = ("loss", "log_perplexity", "accuracy", "accuracy_top5", "accuracy_per_sequence")

Batch = dict[str, tf.Tensor]
_Scored = tuple[str, bool, str | list[str]]  # an answer's text, whether it ended by itself, its reference or references
_Result = tuple[dict[str, float], list[_Scored]]  # of a batch: the sums of _score_batch, and the answers
_Work = Callable[[Any, Decoder | None, Batch], _Result]  # from a replica's model and decoder
Share = dict[str, list[list[_Result]]]  # {problem: lists with a result for each batch}; JSON-serializable


def evaluate(
    model: Any,
    datasets: Mapping[str, Dataset],
    hparams: HParams,
    split: str = "dev",
    eval_steps: int | None = None,
    *,
    decoder: Decoder | None = None,
    max_length: int = 0,
    before_batch: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Evaluates a model and returns {problem: {metric: value}}.

    Teacher-forced, for every problem: examples, loss and log_perplexity (nats per target token), accuracy (of tokens),
    accuracy_per_sequence and accuracy_top5. With a decoder, also the problem's own metrics of decoded answers, and
    answers_cut and answers_empty: the number of answers that the length limit cut, and of those without text. If the
    split has examples whose input or target is longer than the maximum, too_long is their number: the model gets them
    cut, but answers are scored against the whole target.

    If examples with the same inputs are one input with several references (`metrics.has_several_references`), it is
    decoded once, its answer is scored against all references of the split, and answers is the number of answers. Then
    eval_steps also counts the batches of inputs to decode, which are another even sample.

    Args:
      model: the model.
      datasets: {name: dataset} of the problems.
      hparams: the run's hparams.
      split: the split to score.
      eval_steps: batches of each problem, drawn evenly from the split; None for the whole split.
      decoder: decodes the answers; None: only teacher-forced metrics.
      max_length: tokens of an answer at most; 0: the maximum of the problem's targets.
      before_batch: called before each batch; an exception from it ends the evaluation.
    """
    replicas = [(model, decoder)]
    share = evaluate_share(
        replicas, datasets, hparams, split, eval_steps, max_length=max_length, before_batch=before_batch
    )
    return combine_shares([share], datasets, split)


def evaluate_share(
    replicas: Sequence[tuple[Any, Decoder | None]],
    datasets: Mapping[str, Dataset],
    hparams: HParams,
    split: str = "dev",
    eval_steps: int | None = None,
    *,
    max_length: int = 0,
    before_batch: Callable[[], None] = lambda: None,
    run: Callable[..., list[Any]] = lambda work, batches: list(map(work, range(1), batches)),
    part: tuple[int, int] = (0, 1),
) -> Share:
    """Evaluates one worker's share of the batches. `combine_shares` makes metrics of the shares of all workers.

    A batch is evaluated by one replica, and results are added up in the order of the batches. So the metrics are the
    same, to the bit, for any number of replicas and workers.

    Args:
      replicas: the model of each replica of this worker, all with the same weights, and its decoder or None.
      datasets, hparams, split, eval_steps, max_length: see `evaluate`.
      before_batch: called before each batch, or before one batch for each replica; an exception ends the evaluation.
      run: calls work(replica number, batch) for each replica and its batch, in parallel; returns the results.
      part: (worker, workers): evaluates the batches worker, worker + workers, ... of each problem.
    """

    def map_batches(dataset: Dataset, work: _Work, **options: Any) -> list[_Result]:
        results: list[_Result] = []
        batches = _batches(dataset, split, hparams, eval_steps, part, **options)
        while group := list(itertools.islice(batches, len(replicas))):
            before_batch()
            padded = [*group, *[None] * (len(replicas) - len(group))]
            results += run(lambda i, batch: batch and work(*replicas[i], batch), padded)[: len(group)]
        return results

    decodes = replicas[0][1] is not None
    return {
        name: _evaluate_problem(name, dataset, split, decodes, max_length, functools.partial(map_batches, dataset))
        for name, dataset in datasets.items()
    }


def combine_shares(
    shares: Sequence[Share], datasets: Mapping[str, Dataset], split: str = "dev"
) -> dict[str, dict[str, Any]]:
    """Returns {problem: {metric: value}}, see `evaluate`, of the shares of all workers, in the order of the workers."""
    results = {}
    for name, dataset in datasets.items():
        sums: dict[str, float] = {}
        answers: list[_Scored] = []
        for lists in zip(*(share[name] for share in shares), strict=True):
            for batch_sums, batch_answers in _interleave(lists):
                for key, value in batch_sums.items():
                    sums[key] = sums.get(key, 0.0) + value
                answers += batch_answers
        results[name] = _averages(sums)
        if too_long := dataset.split(split).too_long:
            results[name]["too_long"] = too_long
        if answers:
            texts, finished, references = zip(*answers, strict=True)
            results[name] |= metrics.score(dataset.problem.metrics, texts, references)
            results[name]["answers_cut"] = finished.count(False)
            results[name]["answers_empty"] = sum(not text.strip() for text in texts)
            if len(answers) != results[name]["examples"]:
                results[name]["answers"] = len(answers)
    return results


def _evaluate_problem(
    name: str, dataset: Dataset, split: str, decodes: bool, max_length: int, map_batches: Callable[..., list[_Result]]
) -> list[list[_Result]]:
    """Evaluates a share of one problem's batches: once all, and once those of inputs with several references."""

    def score(model: Any, decoder: Decoder | None, batch: Batch) -> _Result:
        full_targets = batch.pop("references", None)
        sums = _score_batch(model, name, batch)
        return sums, [] if full_targets is None else decode(decoder, batch, target_texts(dataset, full_targets))

    def decode(decoder: Decoder | None, batch: Batch, references: Sequence[str | list[str]]) -> list[_Scored]:
        assert decoder is not None
        answers = answer_batch(decoder, dataset, batch, max_length)
        return [(a.text, a.finished, wanted) for a, wanted in zip(answers, references, strict=True)]

    if not (decodes and dataset.problem.metrics):
        return [map_batches(score)]
    groups = dataset.input_groups(split) if metrics.has_several_references(dataset.problem) else None
    if groups is None or groups.all_differ:
        return [map_batches(score, references=True)]

    def decode_group(_: Any, decoder: Decoder | None, batch: Batch) -> _Result:
        references = [decode_rows(dataset, groups.targets[index]) for index in batch["index"].numpy().tolist()]
        return {}, decode(decoder, batch, references)

    return [map_batches(score), map_batches(decode_group, keep=groups.is_first)]


def _interleave(lists: Sequence[Sequence[_Result]]) -> Iterator[_Result]:
    """Yields the first item of each list, then the second of each, and so on."""
    for row in itertools.zip_longest(*lists):
        yield from (item for item in row if item is not None)


def target_texts(dataset: Dataset, ids: tf.Tensor) -> list[str]:
    """Decodes target ids (B, T) to B texts."""
    return decode_rows(dataset, ids.numpy().tolist())


def decode_rows(dataset: Dataset, rows: Sequence[Any]) -> list[str]:
    """Decodes rows of target ids to texts."""
    targets = dataset.problem.targets
    assert isinstance(targets, Text)
    vocabulary = dataset.vocabularies[targets.vocab]
    return [vocabulary.decode(row) for row in rows]


def _batches(
    dataset: Dataset, split: str, hparams: HParams, steps: int | None, part: tuple[int, int], **options: Any
) -> Iterator[Batch]:
    """Yields the batches of a part."""
    worker, workers = part
    if workers > 1:
        options |= {"skip": worker, "every": workers}
    # The first batches of a shuffled epoch are an even sample of the split, the same in every evaluation.
    batches = dataset.batches(split, hparams, shuffle=steps is not None, seed=_SAMPLE_SEED, **options)
    with dataset.reading():
        yield from batches if steps is None else batches.take(len(range(worker, steps, workers)))


def _score_batch(model: Any, name: str, batch: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Sums over the batch, of which `_averages` makes metrics."""
    scores = model.score(name, batch)
    targets = batch["targets"]
    correct = tf.cast(tf.argmax(scores.logits, -1, output_type=tf.int32) == targets, tf.float32) * scores.weights
    classes = scores.logits.shape[-1]
    in_top5 = tf.math.in_top_k(tf.reshape(targets, [-1]), tf.reshape(scores.logits, [-1, classes]), min(5, classes))
    top5 = tf.cast(tf.reshape(in_top5, tf.shape(targets)), tf.float32) * scores.weights
    per_sequence = list(range(1, len(targets.shape)))
    all_correct = tf.reduce_sum(correct, per_sequence) == tf.reduce_sum(scores.weights, per_sequence)
    sums = {
        "examples": tf.shape(targets)[0],
        "targets": tf.reduce_sum(scores.weights),
        "loss": tf.reduce_sum(scores.loss),
        "accuracy": tf.reduce_sum(correct),
        "accuracy_top5": tf.reduce_sum(top5),
        "accuracy_per_sequence": tf.reduce_sum(tf.cast(all_correct, tf.float32)),
    }
    return {key: float(value) for key, value in sums.items()}


def _averages(sums: Mapping[str, float]) -> dict[str, Any]:
    examples, targets = sums["examples"], sums["targets"]
    loss = sums["loss"] / targets
    return {
        "examples": int(examples),
        "loss": loss,
        "log_perplexity": loss,
        "accuracy": sums["accuracy"] / targets,
        "accuracy_per_sequence": sums["accuracy_per_sequence"] / examples,
        "accuracy_top5": sums["accuracy_top5"] / targets,
    }
