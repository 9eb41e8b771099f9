"""The input pipeline: reads records as batches, with tf.data and no Python code inside it."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.data import bucketing, lengths
from t2t_lite.data.decode_features import decode_audio, pad_text
from t2t_lite.data.encoding import encode_value, load_vocabularies
from t2t_lite.data.manifest import Manifest, Split, manifest_path
from t2t_lite.data.verify import check_shard
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.errors import UserError
from t2t_lite.hparams.hparams import HParams
from t2t_lite.media.crop_pictures import CropSeed, decode_and_crop
from t2t_lite.media.decode_inputs import decode_picture
from t2t_lite.problems.features import Audio, Feature, Image, Text
from t2t_lite.problems.problem import Problem, get_problem
from t2t_lite.progress import print_status

_CACHE_BYTES = 200_000_000  # splits up to this size stay in memory after the first epoch
_SHUFFLE_EXAMPLES = 100_000  # the largest shuffle buffer, which also holds at most _CACHE_BYTES
_THREADS = max(2, min(8, os.cpu_count() or 2))  # per pipeline; each problem has its own pipeline

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
        return cls(problem, manifest, load_vocabularies(problem, data_dir), data_dir)

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
        self,
        split: str,
        hparams: HParams,
        *,
        shuffle: bool = False,
        repeat: bool = False,
        seed: int | None = None,
        skip: int = 0,
        references: bool = False,
    ) -> tf.data.Dataset:
        """Returns the batches of a split. Examples of a batch have similar lengths. Deterministic.

        A batch is a dict:
          inputs: int32 (B, S) ids that end with 1, padded with 0; or float32 (B, rows, columns, 3) in [0, 1]; or
            float32 (B, N) samples in [-1, 1), padded with 0.
          targets: int32 (B, T) ids that end with 1, padded with 0; or int32 (B,) indices of classes.
          inputs_length: int32 (B,) samples; for audio only.
          index: int64 (B,) the example's position in the split.
          references: int32 (B, R) ids of the targets, never cut; only if requested.
        S, T and N are bucket boundaries (`lengths.bucket_boundaries`). B times the longer of them, or the positions of
        a picture, is at most `hparams.batch_tokens`, and B is at most `hparams.batch_max_examples`, both scaled by the
        problem's multiplier.
        At the end of an epoch the rest of each bucket makes a smaller batch, so an epoch has every example once.

        Args:
          split: the split's name.
          hparams: batch_tokens, batch_max_examples, batch_multipliers, fine_buckets, image_strides and seed are read.
          shuffle: shuffles each epoch with a seed that depends on (seed, epoch) only.
          repeat: for training: repeats forever, leaves out examples that exceed their feature's maximum, and crops and
            flips pictures at random, seeded by (seed, epoch, index). Otherwise there is one epoch, and long examples
            are cut.
          seed: replaces hparams.seed.
          skip: the number of batches to skip at the start.
          references: adds `references`, for targets that are text.

        Raises:
          UserError: there is no such split, or all its examples are too long to train on.
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
        boundaries = list(sizes)
        texts = all(isinstance(feature, Text) for feature in self._features.values())
        first_epoch, last_epoch = 0, 1
        if repeat:
            first_epoch, skip = divmod(skip, lengths.batches_in_epoch(stored.positions, sizes))
            last_epoch = tf.int64.max
        cached = self._records(stored, None, repeat).cache() if stored.bytes <= _CACHE_BYTES else None

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            """The batches of serialized examples of one epoch."""
            epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
            records = self._records(stored, epoch_seed if shuffle else None, repeat) if cached is None else cached
            if shuffle:
                order_seed = tf.random.stateless_uniform([], epoch_seed, minval=None, maxval=None, dtype=tf.int64)
                # A seed from tf.random.set_seed elsewhere in the process would change the order.
                tf.compat.v1.get_default_graph().seed = None
                # The seed of each epoch comes from here, so that training can resume at any epoch.
                records = records.shuffle(_shuffle_buffer(stored), seed=order_seed, reshuffle_each_iteration=False)
                if texts and hparams.fine_buckets:
                    return bucketing.batch_by_both_sides(records, sizes, order_seed)
            batches = bucketing.batch_by_longer_side(records, sizes)
            return batches.map(lambda batch: batch | {"epoch_seed": epoch_seed}) if repeat else batches

        batches = tf.data.Dataset.range(first_epoch, last_epoch).flat_map(epoch_batches).skip(skip)
        batches = batches.map(lambda batch: self._parse(batch, boundaries, references), num_parallel_calls=_THREADS)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.private_threadpool_size = _THREADS
        return batches.prefetch(2).with_options(options)

    def inputs_batch(self, inputs: Sequence[Any]) -> dict[str, tf.Tensor]:
        """Makes a batch, without targets, of inputs that are not stored, as `batches` does; long inputs are cut.

        Args:
          inputs: texts; or pictures as PNG or JPEG bytes; or sounds as arrays of samples.

        Raises:
          UserError: a sound has no samples.
          tf.errors.InvalidArgumentError: a picture cannot be decoded.
        """
        feature = self.problem.inputs
        if isinstance(feature, Image):
            return {
                "inputs": decode_and_crop(tf.constant(inputs), feature.rows, feature.columns, decode=decode_picture)
            }
        stored = [encode_value(feature, value, self.vocabularies)[0] for value in inputs]
        values = {
            "inputs": tf.ragged.constant(stored, tf.int64, ragged_rank=1)
            if isinstance(feature, Text)
            else tf.constant(stored)
        }
        return self._assemble(values, self._sizes(values))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read batches inside this context: it turns TensorFlow's errors about the records into a UserError.

        Raises:
          UserError: a shard is damaged, or a stored picture cannot be decoded. The text names the file and the record.
        """
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as e:
            generate = f"t2t-datagen --problem={self.problem.name} --data_dir={self._data_dir}"
            for split in self.manifest.splits.values():
                for shard in split.shards:
                    fault = check_shard(self._data_dir / shard.name, shard)
                    if fault:
                        raise UserError(f"{fault}: delete it and run {generate}") from e
            if isinstance(e, tf.errors.InvalidArgumentError) and (fault := self._find_broken_picture()):
                path = manifest_path(self._data_dir, self.problem.name)
                raise UserError(f"{fault}: delete {path} and run {generate}") from e
            raise

    def _find_broken_picture(self) -> str:
        """Returns a line that names the first stored picture that cannot be decoded; "" if there is none."""
        pictures = [(key, feature) for key, feature in self._features.items() if isinstance(feature, Image)]

        def decode(record: tf.Tensor) -> tuple[tf.Tensor, ...]:
            values = self._values(record[None])
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

    def _records(self, stored: Split, shard_seed: tf.Tensor | None, drop_long: bool) -> tf.data.Dataset:
        """Reads the shards, in an order that depends on a seed if there is one: dicts as `_measure` returns them."""
        number = len(stored.shards)
        # As bytes: the name of a folder need not be UTF-8.
        files = tf.constant([os.fsencode(self._data_dir / shard.name) for shard in stored.shards])
        order = tf.range(number, dtype=tf.int64)
        if shard_seed is not None:
            order = tf.random.experimental.stateless_shuffle(order, shard_seed)

        def read_shard(shard: tf.Tensor) -> tf.data.Dataset:
            numbered = tf.data.TFRecordDataset(files[shard], buffer_size=1 << 20).enumerate()
            return numbered.map(lambda n, record: self._measure(record, n * number + shard))

        records = tf.data.Dataset.from_tensor_slices(order).flat_map(read_shard)
        return records.filter(lambda record: record["fits"]) if drop_long else records

    def _measure(self, record: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a serialized example with its lengths, as `bucketing` needs them, and whether it is not too long."""
        sizes = self._sizes(self._values(record[None]))
        fits, longest = tf.constant(True), tf.constant(1)
        for key, feature in self._features.items():
            most = lengths.max_length(feature)
            fits = fits & (sizes[key][0] <= most)
            longest = tf.maximum(longest, lengths.positions(feature, tf.minimum(sizes[key][0], most)))
        return {
            "record": record,
            "index": index,
            "positions": longest,
            "length_difference": sizes["inputs"][0] - sizes["targets"][0],
            "fits": fits,
        }

    @property
    def _features(self) -> dict[str, Feature]:
        return {"inputs": self.problem.inputs, "targets": self.problem.targets}

    def _values(self, records: tf.Tensor) -> dict[str, Any]:
        """Parses serialized examples (B,) to {key: ragged ids (B, None), bytes (B,) or integers (B,)}."""
        stored: dict[str, Any] = {}
        for key, feature in self._features.items():
            if isinstance(feature, Text):
                stored[key] = tf.io.RaggedFeature(tf.int64)
            else:
                stored[key] = tf.io.FixedLenFeature([], tf.string if isinstance(feature, Image | Audio) else tf.int64)
        return tf.io.parse_example(records, stored)

    def _sizes(self, values: dict[str, Any]) -> dict[str, tf.Tensor]:
        """{key: int32 (B,) tokens without the end token, samples, or 1}."""
        sizes = {}
        for key in values:
            feature = self._features[key]
            if isinstance(feature, Text):
                sizes[key] = tf.cast(values[key].row_lengths(), tf.int32)
            elif isinstance(feature, Audio):
                sizes[key] = tf.strings.length(values[key]) // 2
            else:
                sizes[key] = tf.ones([tf.shape(values[key])[0]], tf.int32)
        return sizes

    def _parse(self, batch: dict[str, tf.Tensor], boundaries: list[int], references: bool) -> dict[str, tf.Tensor]:
        """Makes the batch that `batches` describes from serialized examples (B,)."""
        values, crop_seed = self._values(batch["record"]), None
        sizes = self._sizes(values)
        if "epoch_seed" in batch:
            crop_seed = CropSeed(batch["epoch_seed"], batch["index"], self.problem.random_flip)
        parsed = {"index": batch["index"]} | self._assemble(values, sizes, boundaries, crop_seed)
        if references:
            longest = tf.reduce_max(sizes["targets"])
            parsed["references"] = pad_text(values["targets"], longest, longest + 1)
        return parsed

    def _assemble(
        self,
        values: dict[str, Any],
        sizes: dict[str, tf.Tensor],
        boundaries: list[int] | None = None,
        crop_seed: CropSeed | None = None,
    ) -> dict[str, tf.Tensor]:
        """Decodes stored values (B,) to tensors, cut to the maximum and padded to the longest.

        With boundaries, they are padded to the first boundary that holds the longest. Pictures are cropped in the
        middle; with a seed, they are cropped and flipped at random.
        """
        parsed = {}
        for key, value in values.items():
            feature = self._features[key]
            size = tf.minimum(sizes[key], lengths.max_length(feature))
            length = lengths.positions(feature, tf.reduce_max(size))
            if boundaries is not None:
                length = tf.constant(boundaries)[tf.searchsorted(boundaries, tf.reshape(length, [1]))[0]]
            if isinstance(feature, Text):
                parsed[key] = pad_text(value, lengths.max_length(feature), length)
            elif isinstance(feature, Image):
                parsed[key] = decode_and_crop(value, feature.rows, feature.columns, crop_seed)
            elif isinstance(feature, Audio):
                parsed[key] = decode_audio(value, lengths.max_length(feature), length)
                parsed[f"{key}_length"] = size
            else:
                parsed[key] = tf.cast(value, tf.int32)
        return parsed


def _shuffle_buffer(stored: Split) -> int:
    """The number of examples in the shuffle buffer: all, or as many as the limits allow."""
    return max(1, min(stored.examples, _SHUFFLE_EXAMPLES, _CACHE_BYTES * stored.examples // max(1, stored.bytes)))
