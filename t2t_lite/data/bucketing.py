"""Gathering serialized examples into batches of similar length.

Examples are dicts of scalars: "record", "index", "positions" of the longer side, and "slant": how much longer the
inputs are than the targets. Sizes are {edge: examples in a batch} as `lengths.batch_sizes` gives them. Both ways make
equally many batches.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

_TOGETHER = 4  # batches of an edge that are gathered to be cut by slant


def by_longer_side(records: tf.data.Dataset, sizes: Mapping[int, int]) -> tf.data.Dataset:
    """Batches of examples whose longer sides share an edge."""
    bucket, size = _buckets(sizes)
    return records.group_by_window(bucket, lambda b, window: window.batch(size(b)), window_size_func=size)


def by_both_sides(records: tf.data.Dataset, sizes: Mapping[int, int], seed: tf.Tensor) -> tf.data.Dataset:
    """The same, of examples whose sides differ alike, so that the shorter side is padded less; in an order drawn."""
    bucket, size = _buckets(sizes)

    def batches(b: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
        return window.batch(_TOGETHER * size(b)).flat_map(_by_slant).batch(size(b))

    gathered = records.group_by_window(bucket, batches, window_size_func=lambda b: _TOGETHER * size(b))
    return gathered.shuffle(4 * _TOGETHER, seed=seed, reshuffle_each_iteration=False)


def _by_slant(examples: dict[str, tf.Tensor]) -> tf.data.Dataset:
    """The examples of a batch one by one, sorted by slant."""
    order = tf.argsort(examples["slant"], stable=True)
    return tf.data.Dataset.from_tensor_slices({key: tf.gather(value, order) for key, value in examples.items()})


def _buckets(sizes: Mapping[int, int]) -> tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor]]:
    """The number of an example's bucket; and how many examples a bucket's batches have."""
    edges, in_a_batch = list(sizes), list(sizes.values())

    def bucket(example: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(tf.searchsorted(edges, example["positions"][None])[0], tf.int64)

    def size(bucket: tf.Tensor) -> tf.Tensor:
        return tf.constant(in_a_batch, tf.int64)[bucket]

    return bucket, size
