"""Evaluates a model on a split: teacher-forced metrics for every problem, and the metrics of decoded answers."""

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
_SAMPLE_SEED = 0  # draws the batches that eval_steps evaluates
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
    """Evaluates a checkpoint of a run.

    Args:
      names: problems; each must have been trained in the run.
      data_dir: the folder of their data.
      output_dir: the run's folder.
      split: the split to score.
      eval_steps: batches of each problem, drawn evenly from the split; None for the whole split.
      checkpoint: "latest", "best" or a step.
      decode_hparams: the settings of the search for answers.

    Returns:
      {"step": N, "teacher_forced": [names of metrics], "problems": {name: {metric: value}}}.

    Raises:
      UserError: there is no run, checkpoint or data, the data are not those of the run, or a problem names an unknown
        metric.
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
    """Evaluates a model and returns {problem: {metric: value}}.

    Teacher-forced, for every problem: examples, loss and log_perplexity (nats per target token), accuracy (of tokens),
    accuracy_per_sequence and accuracy_top5. With a decoder, also the problem's own metrics of decoded answers, and
    answers_cut and answers_empty: the number of answers that the length limit cut, and of those without text. If the
    split has examples whose input or target is longer than the maximum, too_long is their number: the model gets them
    cut, but answers are scored against the whole target.

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
    results = {}
    for name, dataset in datasets.items():
        sums: dict[str, float] = {}
        answers: list[Answer] = []
        references: list[str] = []
        decoded = decoder is not None and bool(dataset.problem.metrics)
        for batch in _batches(dataset, split, hparams, eval_steps, references=decoded):
            before_batch()
            full_targets = batch.pop("references", None)
            for key, value in _score_batch(model, name, batch).items():
                sums[key] = sums.get(key, 0.0) + value
            if decoder and full_targets is not None:
                answers += answer_batch(decoder, dataset, batch, max_length)
                references += target_texts(dataset, full_targets)
        results[name] = _averages(sums)
        if too_long := dataset.split(split).too_long:
            results[name]["too_long"] = too_long
        if answers:
            results[name] |= metrics.score(dataset.problem.metrics, [a.text for a in answers], references)
            results[name]["answers_cut"] = sum(not answer.finished for answer in answers)
            results[name]["answers_empty"] = sum(not answer.text.strip() for answer in answers)
    return results


def target_texts(dataset: Dataset, ids: tf.Tensor) -> list[str]:
    """Decodes target ids (B, T) to B texts."""
    targets = dataset.problem.targets
    assert isinstance(targets, Text)
    vocabulary = dataset.vocabularies[targets.vocab]
    return [vocabulary.decode(row) for row in ids.numpy().tolist()]


def _batches(
    dataset: Dataset, split: str, hparams: HParams, steps: int | None, *, references: bool
) -> Iterator[dict[str, tf.Tensor]]:
    # The first batches of a shuffled epoch are an even sample of the split, the same in every evaluation.
    batches = dataset.batches(split, hparams, shuffle=steps is not None, seed=_SAMPLE_SEED, references=references)
    with dataset.reading():
        yield from batches if steps is None else batches.take(steps)


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
