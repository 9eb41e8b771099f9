"""Scores a model on a split: teacher-forced figures for every problem, decoded ones where the problem has them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.decode import Answer, answer_batch, make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.search import Decoder
from t2t_lite.evaluation import metrics
from t2t_lite.hparams import HParams
from t2t_lite.problems.features import Text
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step
from t2t_lite.runs.run import Run

GREEDY = DecodeHParams()
TEACHER_FORCED = ("loss", "log_perplexity", "accuracy", "accuracy_top5", "accuracy_per_sequence")


def evaluate_run(
    names: Sequence[str],
    data_dir: Path,
    output_dir: Path,
    split: str = "dev",
    eval_steps: int | None = None,
    checkpoint: str = "latest",
    decode_hparams: DecodeHParams = GREEDY,
) -> dict[str, Any]:
    """Scores a checkpoint of a run.

    Args:
      names: problems; each must have been trained in the run.
      data_dir: where datagen put the data.
      output_dir: the run's folder.
      split: the split to score.
      eval_steps: batches of each problem; None for the whole split.
      checkpoint: "latest", "best" or a step.
      decode_hparams: how answers are searched for, where they are scored.

    Returns:
      {"step": N, "teacher_forced": the metrics that are, "problems": {name: {metric: value}}}.

    Raises:
      UserError: no run, no checkpoint, no data, data that are not the run's, or a problem names a metric that is none.
    """
    run = Run.open(output_dir)
    datasets = run.open_datasets(data_dir, list(names))
    for dataset in datasets.values():
        metrics.check(dataset.problem)
    model = run.build_model()
    step = Checkpoints(output_dir, model).restore_weights(chosen_step(output_dir, checkpoint))
    decoder, limit = make_decoder(model, decode_hparams), decode_hparams.max_length
    problems = evaluate(model, datasets, run.hparams, split, eval_steps, decoder=decoder, max_length=limit)
    return {"step": step, "teacher_forced": list(TEACHER_FORCED), "problems": problems}


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
    """Scores a model: {problem: {metric: value}}.

    Teacher-forced, for every problem: examples, loss and log_perplexity (nats a target), accuracy (share of targets),
    accuracy_per_sequence and accuracy_top5. With a decoder, also the problem's own metrics, of decoded answers, and
    answers_cut and answers_empty: how many of these the length limit cut, and how many have no text. too_long, where
    there are any: the split's examples of which a side is longer than the network is given, and cut; answers are scored
    against the whole target all the same.

    Args:
      model: the model.
      datasets: its problems.
      hparams: those of the run.
      split: the split to score.
      eval_steps: batches of each problem; None for the whole split.
      decoder: finds the answers; None: teacher-forced figures alone.
      max_length: tokens of an answer at most; 0: what the problem's target allows.
      before_batch: called before each batch; what it raises breaks the evaluation off.
    """
    results = {}
    for name, dataset in datasets.items():
        sums: dict[str, float] = {}
        answers: list[Answer] = []
        references: list[str] = []
        decoded = decoder is not None and bool(dataset.problem.metrics)
        for batch in _batches(dataset, split, hparams, eval_steps, references=decoded):
            before_batch()
            whole_targets = batch.pop("references", None)
            for key, value in _score_batch(model, name, batch).items():
                sums[key] = sums.get(key, 0.0) + value
            if decoder and whole_targets is not None:
                answers += answer_batch(decoder, dataset, batch, max_length)
                references += target_texts(dataset, whole_targets)
        results[name] = _averages(sums)
        if too_long := dataset.split(split).too_long:
            results[name]["too_long"] = too_long
        if answers:
            results[name] |= metrics.score(dataset.problem.metrics, [a.text for a in answers], references)
            results[name]["answers_cut"] = sum(not answer.finished for answer in answers)
            results[name]["answers_empty"] = sum(not answer.text.strip() for answer in answers)
    return results


def target_texts(dataset: Dataset, ids: tf.Tensor) -> list[str]:
    """(B, T) ids -> B texts."""
    targets = dataset.problem.targets
    assert isinstance(targets, Text)
    vocabulary = dataset.vocabularies[targets.vocab]
    return [vocabulary.decode(row) for row in ids.numpy().tolist()]


def _batches(
    dataset: Dataset, split: str, hparams: HParams, steps: int | None, *, references: bool
) -> Iterator[dict[str, tf.Tensor]]:
    batches = dataset.batches(split, hparams, references=references)
    with dataset.reading():
        yield from batches if steps is None else batches.take(steps)


def _score_batch(model: Any, name: str, batch: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Sums over a batch, which add up over batches."""
    scores = model.score(name, batch)
    targets = batch["targets"]
    right = tf.cast(tf.argmax(scores.logits, -1, output_type=tf.int32) == targets, tf.float32) * scores.weights
    classes = scores.logits.shape[-1]
    in_top5 = tf.math.in_top_k(tf.reshape(targets, [-1]), tf.reshape(scores.logits, [-1, classes]), min(5, classes))
    top5 = tf.cast(tf.reshape(in_top5, tf.shape(targets)), tf.float32) * scores.weights
    per_sequence = list(range(1, len(targets.shape)))
    whole = tf.reduce_sum(right, per_sequence) == tf.reduce_sum(scores.weights, per_sequence)
    sums = {
        "examples": tf.shape(targets)[0],
        "targets": tf.reduce_sum(scores.weights),
        "loss": tf.reduce_sum(scores.loss),
        "accuracy": tf.reduce_sum(right),
        "accuracy_top5": tf.reduce_sum(top5),
        "accuracy_per_sequence": tf.reduce_sum(tf.cast(whole, tf.float32)),
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
