"""Batches serialized examples of similar length.

An example is a dict of scalars: "record", "index", "positions" of its longer side, and "length_difference": length of
the inputs minus length of the targets. `sizes` is {bucket boundary: examples in a batch}, from `lengths.batch_sizes`.
Both functions make the same number of batches.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

_BATCHES_TO_SORT = 4  # batches of a bucket that are sorted together by length difference


def batch_by_longer_side(records: tf.data.Dataset, sizes: Mapping[int, int]) -> tf.data.Dataset:
    """Batches examples whose longer sides fall into the same bucket."""
    bucket, size = _buckets(sizes)
    return records.group_by_window(bucket, lambda b, window: window.batch(size(b)), window_size_func=size)


def batch_by_both_sides(records: tf.data.Dataset, sizes: Mapping[int, int], seed: tf.Tensor) -> tf.data.Dataset:
    """As `batch_by_longer_side`, but also groups by length difference, so that the shorter side has less padding.

    The batches are shuffled with the seed, int64 ().
    """
    bucket, size = _buckets(sizes)

    def batches(b: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        return window.batch(_BATCHES_TO_SORT * size(b)).flat_map(_sort_by_length_difference).batch(size(b))

    sorted_batches = records.group_by_window(bucket, batches, window_size_func=lambda b: _BATCHES_TO_SORT * size(b))
    return sorted_batches.shuffle(4 * _BATCHES_TO_SORT, seed=seed, reshuffle_each_iteration=False)


def _sort_by_length_difference(examples: dict[str, tf.Tensor]) -> tf.data.Dataset:
    """The examples of a batch one by one, sorted."""
    order = tf.argsort(examples["length_difference"], stable=True)
    return tf.data.Dataset.from_tensor_slices({key: tf.gather(value, order) for key, value in examples.items()})


def _buckets(sizes: Mapping[int, int]) -> tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor]]:
    """Two functions: the number of an example's bucket, and the number of examples in a batch of that bucket."""
    boundaries, batch_sizes = list(sizes), list(sizes.values())

    def bucket(example: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(tf.searchsorted(boundaries, example["positions"][None])[0], tf.int64)

    def size(bucket: tf.Tensor) -> tf.Tensor:
        return tf.constant(batch_sizes, tf.int64)[bucket]

    return bucket, size
