"""Splits a batch into equal shards for replicas and micro-batches, and makes blank batches of any shape."""

from collections.abc import Mapping

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.problems.features import Audio, Feature, Image, Text
from t2t_lite.problems.problem import Problem


def shard_batch(batch: Mapping[str, tf.Tensor], number: int, parts: int) -> dict[str, tf.Tensor]:
    """Returns shard `number` of a batch that is split into `parts`.

    All shards have ceil(B / parts) examples; the last ones are padded with blank examples. `weights` (B,) is 1 for an
    example and 0 for a blank one. With one part, the batch is returned as it is, without weights.

    A batch with a `part` (see `Dataset.loader`) has only some examples of the whole batch, with all those of the shard.
    """
    if parts == 1:
        return dict(batch)
    first, examples = batch["part"].numpy().tolist() if "part" in batch else (0, batch["targets"].shape[0])
    size = -(-examples // parts)
    start, end = min(number * size, examples), min((number + 1) * size, examples)
    blank = size - (end - start)
    shard = {"weights": tf.constant([1.0] * (end - start) + [0.0] * blank)}
    for key, value in batch.items():
        if key == "part":
            continue
        shard[key] = tf.pad(value[start - first : end - first], [[0, blank]] + [[0, 0]] * (value.shape.rank - 1))
    return shard


def blank_batch(problem: Problem, examples: int, boundary: int) -> dict[str, tf.Tensor]:
    """Returns blank data in the shape of a training batch whose examples are padded to `boundary` positions."""
    batch = {key: _blank(feature, examples, boundary) for key, feature in problem.keyed_features.items()}
    for key, feature in problem.keyed_features.items():
        if isinstance(feature, Audio):
            batch[f"{key}_length"] = tf.fill([examples], batch[key].shape[1])
    return batch


def _blank(feature: Feature, examples: int, boundary: int) -> tf.Tensor:
    """Blank values (B, ...) of a feature, as long as a bucket allows."""
    length = min(boundary, lengths.positions(feature, lengths.max_length(feature)))
    if isinstance(feature, Text):
        return tf.ones([examples, length], tf.int32)  # id 1, the end token, is in every vocabulary
    if isinstance(feature, Image):
        return tf.zeros([examples, feature.rows, feature.columns, 3], tf.uint8)
    if isinstance(feature, Audio):
        return tf.zeros([examples, length * lengths.SAMPLES_PER_POSITION])
    return tf.zeros([examples], tf.int32)
