"""Cutting a batch into slices of equal size, one a replica and micro-batch; and the largest batch of a problem."""

import bisect
from collections.abc import Mapping

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.reading import Dataset
from t2t_lite.hparams.hparams import HParams
from t2t_lite.problems.features import Audio, Feature, Image, Text


def shard_batch(batch: Mapping[str, tf.Tensor], number: int, parts: int) -> dict[str, tf.Tensor]:
    """Slice `number` of a batch that is cut into `parts`.

    All slices have ceil(B / parts) examples. Where the batch runs out, blank ones fill up; `weights` (B,) tells them
    apart, 1 for an example and 0 for a blank one. A batch in one part is returned as it is.
    """
    if parts == 1:
        return dict(batch)
    examples = batch["targets"].shape[0]
    size = -(-examples // parts)
    start, end = min(number * size, examples), min((number + 1) * size, examples)
    blank = size - (end - start)
    found = {"weights": tf.constant([1.0] * (end - start) + [0.0] * blank)}
    for key, value in batch.items():
        found[key] = tf.pad(value[start:end], [[0, blank]] + [[0, 0]] * (value.shape.rank - 1))
    return found


def largest_batch(dataset: Dataset, hparams: HParams) -> dict[str, tf.Tensor]:
    """A made-up batch of the shape of the largest that training on the problem can meet: that of its longest bucket."""
    problem = dataset.problem
    positions = dataset.split("train").positions
    sizes = lengths.batch_sizes(problem, hparams, positions)
    edges = list(sizes)
    edge = edges[bisect.bisect_left(edges, max(positions, default=edges[-1]))]
    examples = sizes[edge]
    batch = {"targets": _blank(problem.targets, examples, edge), "inputs": _blank(problem.inputs, examples, edge)}
    if isinstance(problem.inputs, Audio):
        batch["inputs_length"] = tf.fill([examples], batch["inputs"].shape[1])
    return batch


def _blank(feature: Feature, examples: int, edge: int) -> tf.Tensor:
    """(B, ...) of what a feature is made of, as long as a bucket lets it be."""
    edge = min(edge, lengths.positions(feature, lengths.max_length(feature)))
    if isinstance(feature, Text):
        return tf.ones([examples, edge], tf.int32)  # id 1, the end token, is in every vocabulary
    if isinstance(feature, Image):
        return tf.zeros([examples, feature.rows, feature.columns, 3])
    if isinstance(feature, Audio):
        return tf.zeros([examples, edge * lengths.SAMPLES_PER_POSITION])
    return tf.zeros([examples], tf.int32)
