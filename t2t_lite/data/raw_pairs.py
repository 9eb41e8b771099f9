"""Pairs of raw inputs and targets: those that a user gives, as batches, and stored examples turned back into them."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.encoding import class_index, encode_value
from t2t_lite.data.manifest import Split
from t2t_lite.data.reading import Dataset
from t2t_lite.data.records import parse, read_records
from t2t_lite.data.vocabulary import END
from t2t_lite.problems.features import Audio, Label, Text, input_features

Pair = tuple[Any, str]  # an input, as `Dataset.inputs_batch` takes it, and the text or class that belongs to it


class RawPairs:
    """Pairs that are not stored, which `evaluate` reads like the only split of a `Dataset`.

    Args:
      dataset: the problem and its vocabularies; its records are not used.
      pairs: inputs and targets.
      batch_size: pairs in a batch at most.

    Raises:
      UserError: a target is not a class of the problem.
    """

    def __init__(self, dataset: Dataset, pairs: Sequence[Pair], batch_size: int = 32):
        self.problem, self.vocabularies = dataset.problem, dataset.vocabularies
        self._dataset, self._pairs, self._batch_size = dataset, list(pairs), batch_size
        self._targets = [self._encode(target) for _, target in self._pairs]

    def split(self, split: str) -> Split:
        """Returns the counts of the pairs."""
        most = lengths.max_length(self.problem.targets)
        too_long = sum(len(ids) > most for ids in self._targets)
        return Split(examples=len(self._pairs), too_long=too_long if isinstance(self.problem.targets, Text) else 0)

    def input_groups(self, split: str) -> None:
        """Returns None: each pair is decoded, also if several have the same input."""

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """See `Dataset.reading`."""
        return contextlib.nullcontext()

    def batches(self, split: str = "", hparams: Any = None, references: bool = False, **_: Any) -> Iterator[Any]:
        """Yields batches in the order of the pairs, with the keys that `Dataset.batches` describes."""
        most = lengths.max_length(self.problem.targets)
        for start in range(0, len(self._pairs), self._batch_size):
            part = slice(start, start + self._batch_size)
            batch = self._dataset.inputs_batch([value for value, _ in self._pairs[part]])
            ids = self._targets[part]
            if isinstance(self.problem.targets, Label):
                batch["targets"] = tf.constant([row[0] for row in ids], tf.int32)
            else:
                batch["targets"] = _padded([row[:most] for row in ids])
            if references:
                batch["references"] = _padded(ids)
            yield batch

    def _encode(self, target: str) -> list[int]:
        feature = self.problem.targets
        if isinstance(feature, Label):
            return [class_index(feature, target)]
        return list(encode_value(feature, target, self.vocabularies)[0])


def _padded(rows: Sequence[Sequence[int]]) -> tf.Tensor:
    """Returns ids with the end token, padded with 0: int32 (B, T)."""
    longest = max(map(len, rows))
    return tf.constant([[*row, END, *[0] * (longest - len(row))] for row in rows], tf.int32)


def stored_pairs(dataset: Dataset, data_dir: Path, split: str, most: int | None = None) -> Iterator[Pair]:
    """Yields the first examples of a split as raw values, in the order of the split.

    Texts and classes are strings, pictures PNG or JPEG bytes, sounds int16 arrays; several inputs are a tuple.

    Raises:
      UserError: there is no such split.
    """
    problem = dataset.problem
    shards = dataset.split(split).shards
    files = [read_records(data_dir / shard.name) for shard in shards]
    records = (record for row in itertools.zip_longest(*files) for record in row if record is not None)
    for record in itertools.islice(records, most):
        stored = parse(record)
        inputs = [_raw(feature, stored[key], dataset) for key, feature in input_features(problem.inputs).items()]
        target = _raw(problem.targets, stored["targets"], dataset)
        yield (tuple(inputs) if isinstance(problem.inputs, tuple) else inputs[0]), target


def _raw(feature: Any, stored: Any, dataset: Dataset) -> Any:
    if isinstance(feature, Text):
        return dataset.vocabularies[feature.vocab].decode(stored)
    if isinstance(feature, Label):
        return feature.classes[int(stored[0])]
    return np.frombuffer(stored, "<i2") if isinstance(feature, Audio) else stored
