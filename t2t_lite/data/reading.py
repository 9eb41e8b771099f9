"""The input pipeline: reads the batches of a planned epoch by position, and decodes them with tf.data."""

import atexit
import collections
import contextlib
import functools
import itertools
import logging
import os
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.encoding import encode_value, load_vocabularies
from t2t_lite.data.epoch_plan import EpochPlans
from t2t_lite.data.input_groups import InputGroups
from t2t_lite.data.manifest import Manifest, Split, manifest_path
from t2t_lite.data.parse_batch import BatchParser
from t2t_lite.data.record_index import RecordIndex
from t2t_lite.data.shard_reader import ShardReader
from t2t_lite.data.verify import check_shard
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.errors import UserError
from t2t_lite.hparams.hparams import HParams
from t2t_lite.media.crop_pictures import decode_and_crop
from t2t_lite.media.decode_inputs import decode_picture
from t2t_lite.problems.features import Image, Text, input_features, input_values
from t2t_lite.problems.problem import Problem, get_problem
from t2t_lite.progress import print_status

_THREADS = max(2, min(8, os.cpu_count() or 2))  # batches that a pipeline reads and decodes at a time

_vocabularies: "weakref.WeakValueDictionary[str, Vocabulary]" = weakref.WeakValueDictionary()  # by checksum
_readers: "weakref.WeakValueDictionary[int, _BatchReader]" = weakref.WeakValueDictionary()
_reader_keys = itertools.count()
_reads: "collections.deque[float]" = collections.deque(maxlen=1)  # when the last read began or ended
_QUIET_SECONDS, _EXIT_SECONDS = 0.3, 10.0  # reads have stopped after such a pause; how long to wait for it at exit

_logger = logging.getLogger(__name__)


class Dataset:
    """The stored records of one problem.

    Attributes:
      problem: the problem, with the declaration stored in the manifest.
      manifest: the description of the records.
      vocabularies: {name: Vocabulary} of its text features.
    """

    def __init__(self, problem: Problem, manifest: Manifest, vocabularies: dict[str, Vocabulary], data_dir: Path):
        self.problem = problem
        self.manifest = manifest
        self.vocabularies = vocabularies
        self._data_dir = data_dir
        self._indexes: dict[str, RecordIndex] = {}
        self._input_groups: dict[str, InputGroups] = {}

    @classmethod
    def open(cls, data_dir: str | Path, name: str) -> "Dataset":
        """Opens the records of a problem.

        Raises:
          UserError: the problem is unknown, or its records are missing or incomplete.
        """
        data_dir = Path(data_dir)
        problem = get_problem(name)
        manifest = Manifest.load(data_dir, name)
        if not manifest.declares(problem.declaration()):
            print_status(
                f"{name}: its class has changed since the records were generated; they are used as they are "
                "(t2t-datagen generates them again)"
            )
        problem.adopt(manifest.declaration)
        vocabularies = {  # shared by all problems that have them, as each takes some MB
            name: _vocabularies.setdefault(vocabulary.checksum, vocabulary)
            for name, vocabulary in load_vocabularies(problem, data_dir).items()
        }
        return cls(problem, manifest, vocabularies, data_dir)

    def split(self, split: str) -> Split:
        """The manifest's entry for a split.

        Raises:
          UserError: there is no such split.
        """
        if split not in self.manifest.splits:
            known = ", ".join(self.manifest.splits)
            raise UserError(f"problem '{self.problem.name}' has no split '{split}'; it has {known}")
        return self.manifest.splits[split]

    def batches(
        self, split: str, hparams: HParams, *, skip: int = 0, every: int = 1, repeat: bool = False, **options: Any
    ) -> tf.data.Dataset:
        """Returns the batches of a split. Examples of a batch have similar lengths. Deterministic.

        Args:
          split, hparams, repeat, **options: see `loader`.
          skip: the number of batches to skip at the start.
          every: after the first batch, gives each `every`-th one.

        Raises:
          UserError: see `loader`.
        """
        loader = self.loader(split, hparams, repeat=repeat, **options)
        batches = tf.data.Dataset.range(skip, tf.int64.max if repeat else loader.batches_in_epoch, every)
        tf_options = tf.data.Options()
        tf_options.deterministic = True
        tf_options.autotune.enabled = False
        batches = batches.map(loader, num_parallel_calls=_THREADS).with_options(tf_options)  # reads ahead by itself
        batches.loader = loader  # lives as long as the dataset and its iterators
        return batches

    def loader(
        self,
        split: str,
        hparams: HParams,
        *,
        shuffle: bool = False,
        repeat: bool = False,
        seed: int | None = None,
        keep: np.ndarray | None = None,
        references: bool = False,
        part: tuple[int, int] = (0, 1),
        shards: int = 0,
    ) -> "BatchLoader":
        """Returns a function that gives the batches of a split by their numbers. Deterministic.

        The examples of a batch have similar lengths. An epoch is planned as a whole (`EpochPlans`), so any batch of any
        epoch can come first without reading others.

        A batch is a dict:
          inputs: int32 (B, S) ids that end with 1, padded with 0; or uint8 (B, rows, columns, 3); or
            float32 (B, N) samples in [-1, 1), padded with 0.
          targets: int32 (B, T) ids that end with 1, padded with 0; or int32 (B,) indices of classes.
          inputs_length: int32 (B,) samples; for audio only.
          index: int64 (B,) the example's position in the split.
          references: int32 (B, R) ids of the targets, never cut; only if requested.
          part: int32 (2,) the first example of this part, and the B of the whole batch; only with `shards`.
        S, T and N are bucket boundaries (`lengths.bucket_boundaries`). B times the longer of them, or the positions of
        a picture, is at most `hparams.batch_tokens`, and B is at most `hparams.batch_max_examples`, both scaled by the
        problem's multiplier.
        At the end of an epoch the rest of each bucket makes a smaller batch, so an epoch has every example once.

        Args:
          split: the split's name.
          hparams: batch_tokens, batch_max_examples, batch_multipliers, fine_buckets, image_strides and seed are read.
          shuffle: shuffles each epoch, over the whole split, with a seed that depends on (seed, epoch) only. Otherwise
            the examples of each bucket are in the order of the split.
          repeat: for training: repeats forever, leaves out examples that exceed their feature's maximum, and crops and
            flips pictures at random, seeded by (seed, epoch, index). Otherwise there is one epoch, and long examples
            are cut.
          seed: replaces hparams.seed.
          keep: (N,) whether to keep each example of the split; None: keeps all.
          references: adds `references`, for targets that are text.
          part: (number, parts): reads only this part of each batch: of B examples, ceil(B / parts) from number times
            that on; the last parts may have fewer or none. Padding and crops are those of the whole batch.
          shards: a multiple of parts: each part is shards / parts of the shards that `shard_batch` makes of the whole
            batch, and says so in its `part`.

        Raises:
          UserError: there is no such split, all its examples are too long to train on, or a shard is damaged and the
            split has no index yet.
        """
        stored = self.split(split)
        if repeat and not stored.positions:
            raise UserError(
                f"problem '{self.problem.name}': all examples of split '{split}' are longer than the maximum"
            )
        if repeat and stored.too_long:
            _logger.warning(
                "%s, %s: %d of %d examples are longer than the maximum and are left out",
                *(self.problem.name, split, stored.too_long, stored.examples),
            )
        seed = hparams.seed if seed is None else seed
        sizes = lengths.batch_sizes(self.problem, hparams, stored.positions)
        texts = all(isinstance(feature, Text) for feature in self._parser.features.values())
        index = self._index(split)
        plans = EpochPlans(
            index,
            sizes,
            seed=seed if shuffle else None,
            drop_long=repeat,
            keep=keep,
            by_difference=shuffle and texts and hparams.fine_buckets,
        )
        reader = _BatchReader(
            plans, index, ShardReader(self._data_dir, stored.shards, index.offsets), sizes, part, shards
        )
        return BatchLoader(reader, _traced_load(self._parser, repeat, references, shards > 0), seed)

    def inputs_batch(self, inputs: Sequence[Any]) -> dict[str, tf.Tensor]:
        """Makes a batch, without targets, of inputs that are not stored, as `batches` does; long inputs are cut.

        Args:
          inputs: texts; or pictures as PNG or JPEG bytes; or sounds as arrays of samples; or tuples of these.

        Raises:
          UserError: a sound has no samples.
          tf.errors.InvalidArgumentError: a picture cannot be decoded.
        """
        by_key = [input_values(self.problem.inputs, value) for value in inputs]
        batch: dict[str, tf.Tensor] = {}
        for key, feature in input_features(self.problem.inputs).items():
            raw = [value[key] for value in by_key]
            if isinstance(feature, Image):
                batch[key] = decode_and_crop(tf.constant(raw), feature.rows, feature.columns, decode=decode_picture)
                continue
            stored = [encode_value(feature, value, self.vocabularies)[0] for value in raw]
            is_text = isinstance(feature, Text)
            values = {key: tf.ragged.constant(stored, tf.int64, ragged_rank=1) if is_text else tf.constant(stored)}
            sizes = self._parser.sizes(values)
            batch |= self._parser.assemble(values, sizes, self._parser.longest(sizes))
        return batch

    def input_groups(self, split: str) -> InputGroups:
        """Finds the examples of a split with the same inputs, for targets that are text. Reads the split once.

        Raises:
          UserError: there is no such split, or a shard is damaged.
        """
        if split not in self._input_groups:
            stored, index = self.split(split), self._index(split)
            reader = ShardReader(self._data_dir, stored.shards, index.offsets)
            try:
                self._input_groups[split] = InputGroups.find(reader, len(index))
            except ValueError as e:
                self._raise_damage(e)
                raise
        return self._input_groups[split]

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read batches inside this context: it turns TensorFlow's errors about the records into a UserError.

        Raises:
          UserError: a shard is damaged, or a stored picture cannot be decoded. The text names the file and the record.
        """
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as e:
            self._raise_damage(e)
            raise

    def _raise_damage(self, error: Exception) -> None:
        """Raises a UserError that names the damaged record, if that is the cause of an error."""
        generate = f"t2t-datagen --problem={self.problem.name} --data_dir={self._data_dir}"
        for split in self.manifest.splits.values():
            for shard in split.shards:
                fault = check_shard(self._data_dir / shard.name, shard)
                if fault:
                    raise UserError(f"{fault}: delete it and run {generate}") from error
        if isinstance(error, tf.errors.InvalidArgumentError) and (fault := self._find_broken_picture()):
            path = manifest_path(self._data_dir, self.problem.name)
            raise UserError(f"{fault}: delete {path} and run {generate}") from error

    def _find_broken_picture(self) -> str:
        """Returns a line that names the first stored picture that cannot be decoded; "" if there is none."""
        pictures = [(key, feature) for key, feature in self._parser.features.items() if isinstance(feature, Image)]

        def decode(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
            values = self._parser.values(record[None])
            return tuple(decode_and_crop(values[key], feature.rows, feature.columns) for key, feature in pictures)

        for name, split in self.manifest.splits.items() if pictures else ():
            for number, shard in enumerate(split.shards):
                path, record = self._data_dir / shard.name, 0
                try:
                    for _ in tf.data.TFRecordDataset([os.fsencode(path)]).map(decode, num_parallel_calls=_THREADS):
                        record += 1
                except tf.errors.InvalidArgumentError:
                    index = record * len(split.shards) + number
                    return (
                        f"problem '{self.problem.name}', split '{name}', stored example {index} (record {record} of "
                        f"{path}): TensorFlow cannot decode its picture"
                    )
        return ""

    def _index(self, split: str) -> RecordIndex:
        """The index of a split's records, read once."""
        if split not in self._indexes:
            try:
                index = RecordIndex.open(self._data_dir, self.problem, split, self.split(split))
            except (ValueError, OSError) as e:
                self._raise_damage(e)
                raise
            self._indexes[split] = index
        return self._indexes[split]

    @property
    def _parser(self) -> BatchParser:
        return BatchParser(self.problem.inputs, self.problem.targets, self.problem.random_flip)


class BatchLoader:
    """Gives the batches of a split by their numbers, which count on over the epochs. Threads may share it.

    Attributes:
      batches_in_epoch: the number of batches in an epoch.
    """

    def __init__(self, reader: "_BatchReader", load: "_Load", seed: int):
        self._reader, self._load, self._seed = reader, load, seed
        self.batches_in_epoch = reader.batches_in_epoch

    def __call__(self, number: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch as `Dataset.loader` describes it: eagerly, or inside tf.data."""
        key, seed = tf.constant(self._reader.key, tf.int64), tf.constant(self._seed, tf.int64)
        load = self._load.eagerly if tf.executing_eagerly() else self._load.in_graph
        batch: dict[str, tf.Tensor] = load(key, tf.cast(number, tf.int64), seed)
        return batch


class _Load(NamedTuple):
    """tf.functions (reader's key, batch, seed) -> batch. Both give the same batch, to the bit."""

    in_graph: Any
    eagerly: Any


@functools.lru_cache(maxsize=256)
def _traced_load(parser: BatchParser, training: bool, references: bool, is_part: bool) -> _Load:
    """Returns the functions that read and parse a batch. All problems with equal features share their graphs."""
    signature = [tf.TensorSpec([], tf.int64)] * 3

    def load(key: tf.Tensor, batch: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        read = tf.numpy_function(_read_batch, [key, batch], [tf.string, tf.int64, tf.int32, tf.int64, tf.int32])
        records, numbers, padded, epoch, part = map(tf.ensure_shape, read, ([None], [None], [2], [], [2]))
        crop_seed = tf.stack([seed, epoch]) if training else None
        batch = parser.parse(records, numbers, padded, crop_seed, references)
        return batch | {"part": part} if is_part else batch

    in_graph = tf.function(load, input_signature=signature)

    def load_in_dataset(key: tf.Tensor, batch: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        # tf.data runs its functions on the host, and as they are: in others the graph optimizer turns a division by a
        # constant into a product, which rounds differently.
        return tf.data.Dataset.from_tensors((key, batch, seed)).map(in_graph).get_single_element()

    return _Load(in_graph, tf.function(load_in_dataset, input_signature=signature))


class _BatchReader:
    """Reads the records of the batches of a `BatchLoader`, from several threads.

    TensorFlow keeps each Python function that a graph calls until the process ends, so there is one, `_read_batch`,
    which finds the readers that are in use by their keys.
    """

    def __init__(
        self,
        plans: EpochPlans,
        index: RecordIndex,
        reader: ShardReader,
        sizes: Mapping[int, int],
        part: tuple[int, int],
        shards: int,
    ):
        self._plans, self._index, self._reader, self._part = plans, index, reader, part
        self._shards = shards or part[1]
        self._boundaries = np.array(list(sizes), np.int32)
        self.batches_in_epoch = plans.batches_in_epoch
        self.key = next(_reader_keys)
        _readers[self.key] = self

    def read(self, batch: int) -> tuple[np.ndarray, ...]:
        """Returns examples, their indices, the padded lengths of inputs and targets, the epoch, and `part`."""
        epoch, number = divmod(batch, self._plans.batches_in_epoch)
        records = self._plans.batch(epoch, number).astype(np.int64)
        longest = [self._index.inputs[records].max(), self._index.targets[records].max()]
        padded = self._boundaries[np.searchsorted(self._boundaries, longest).clip(max=len(self._boundaries) - 1)]
        part, parts = self._part
        examples = len(records)
        share = -(-examples // self._shards) * (self._shards // parts)
        records = records[part * share : (part + 1) * share]
        serialized = np.empty(len(records), object)
        serialized[:] = self._reader.read(records)
        return serialized, records, padded, np.array(epoch, np.int64), np.array([part * share, examples], np.int32)


def _read_batch(key: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, ...]:
    """Reads a batch with the reader that has this key."""
    _reads.append(time.monotonic())
    try:
        return _readers[int(key)].read(int(batch))
    finally:
        _reads.append(time.monotonic())


@atexit.register
def _wait_for_reads() -> None:
    """Waits until no batch is being read ahead: a call into an interpreter that is shutting down may never return."""
    end = time.monotonic() + _EXIT_SECONDS
    while _readers and _reads and _reads[-1] + _QUIET_SECONDS > time.monotonic() < end:
        time.sleep(0.05)
