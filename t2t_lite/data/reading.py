"""The input pipeline: records to batches, with no Python inside."""

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
from t2t_lite.data.manifest import Manifest, Split
from t2t_lite.data.verify import wrong_shard
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.errors import UserError
from t2t_lite.hparams.hparams import HParams
from t2t_lite.media.crop_pictures import CropSeed, decode_and_crop
from t2t_lite.media.decode_inputs import decode_picture
from t2t_lite.problems.features import Audio, Feature, Image, Text
from t2t_lite.problems.problem import Problem, get_problem
from t2t_lite.progress import print_status

_CACHE_BYTES = 200_000_000  # splits up to this size are kept in memory after the first pass
_SHUFFLE_EXAMPLES = 100_000  # the shuffle buffer at most; it holds no more than _CACHE_BYTES either
_THREADS = max(2, min(8, os.cpu_count() or 2))  # of one pipeline; eight problems have eight

_logger = logging.getLogger(__name__)


class Dataset:
    """The stored records of one problem.

    Attributes:
      problem: the problem, with the declaration that datagen kept.
      manifest: what is stored.
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
          UserError: the problem is unknown, or its records are missing or not whole.
        """
        data_dir = Path(data_dir)
        problem = get_problem(name)
        manifest = Manifest.load(data_dir, name)
        if not manifest.declares(problem.declaration()):
            print_status(
                f"{name}: stored by another declaration than its class has now, which stays; t2t-datagen stores it anew"
            )
        problem.adopt(manifest.declaration)
        return cls(problem, manifest, load_vocabularies(problem, data_dir), data_dir)

    def split(self, split: str) -> Split:
        """What is stored of a split.

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
        """The batches of a split, of examples of similar length; the same arguments give the same batches.

        A batch is a dict:
          inputs: int32 (B, S) ids that end with 1, padded with 0; or float32 (B, rows, columns, 3) in [0, 1]; or
            float32 (B, N) samples in [-1, 1), padded with 0.
          targets: int32 (B, T) ids that end with 1, padded with 0; or int32 (B,) indices of classes.
          inputs_length: int32 (B,) samples; for audio only.
          index: int64 (B,) the example's position in the split.
          references: int32 (B, R) ids of the whole targets, where `targets` may be cut; if asked for.
        S, T and N are edges of buckets (`lengths.bucket_edges`); B times the longer of them is at most
        `hparams.batch_tokens`, and B at most `hparams.batch_max_examples`, both times the problem's multiplier. What is
        left in the buckets at the end of an epoch makes smaller batches, so that an epoch has every example once.

        Args:
          split: the split's name.
          hparams: batch_tokens, batch_max_examples, batch_multipliers, fine_buckets and seed are read.
          shuffle: each epoch in another order, drawn from (seed, epoch) alone.
          repeat: for training: epochs without end, without the examples that exceed their feature's maximum, pictures
            cropped and flipped as drawn from (seed, epoch, index). Otherwise one epoch, such examples cut.
          seed: in place of hparams.seed.
          skip: batches to pass over at the start, as if they had been read.
          references: give what answers are scored against, too; of texts.

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
                "%s, %s: %d of %d examples are longer than the maximum and left out",
                *(self.problem.name, split, stored.too_long, stored.examples),
            )
        seed = hparams.seed if seed is None else seed
        sizes = lengths.batch_sizes(self.problem, hparams, stored.positions)
        edges = list(sizes)
        texts = all(isinstance(feature, Text) for feature in self._features.values())
        first_epoch, last_epoch = 0, 1
        if repeat:
            first_epoch, skip = divmod(skip, lengths.batches_in_epoch(stored.positions, sizes))
            last_epoch = tf.int64.max
        cached = self._records(stored, None, repeat).cache() if stored.bytes <= _CACHE_BYTES else None

        def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
            """The serialized batches of one epoch."""
            draw = tf.stack([tf.constant(seed, tf.int64), epoch])
            records = self._records(stored, draw if shuffle else None, repeat) if cached is None else cached
            if shuffle:
                drawn = tf.random.stateless_uniform([], seed=draw, minval=None, maxval=None, dtype=tf.int64)
                # Whatever tf.random.set_seed was told elsewhere in the process: it would join in the order.
                tf.compat.v1.get_default_graph().seed = None
                # Not reshuffling: the seed of every epoch is drawn here, so that training can take up at any epoch.
                records = records.shuffle(_shuffle_buffer(stored), seed=drawn, reshuffle_each_iteration=False)
                if texts and hparams.fine_buckets:
                    return bucketing.by_both_sides(records, sizes, drawn)
            batches = bucketing.by_longer_side(records, sizes)
            return batches.map(lambda batch: batch | {"draw": draw}) if repeat else batches

        batches = tf.data.Dataset.range(first_epoch, last_epoch).flat_map(epoch_batches).skip(skip)
        batches = batches.map(lambda batch: self._parse(batch, edges, references), num_parallel_calls=_THREADS)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.private_threadpool_size = _THREADS
        return batches.prefetch(2).with_options(options)

    def inputs_batch(self, inputs: Sequence[Any]) -> dict[str, tf.Tensor]:
        """A batch of inputs that somebody gives, as `batches` would give it, less the targets; cut to the maximum.

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
        """Reading batches belongs inside: TensorFlow's error for a damaged record names then its file and its place.

        Raises:
          UserError: a shard is no longer what datagen wrote.
        """
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as e:
            for split in self.manifest.splits.values():
                for shard in split.shards:
                    path = self._data_dir / shard.name
                    told = wrong_shard(path, shard)
                    if told:
                        mend = f"t2t-datagen --problem={self.problem.name} --data_dir={self._data_dir}"
                        raise UserError(f"{told}: delete it and run {mend}") from e
            raise

    def _records(self, stored: Split, draw: tf.Tensor | None, drop_long: bool) -> tf.data.Dataset:
        """Dicts of a serialized example, its positions and its index; the order of the shards is drawn if asked for."""
        number = len(stored.shards)
        files = tf.constant([str(self._data_dir / shard.name) for shard in stored.shards])
        order = tf.range(number, dtype=tf.int64)
        if draw is not None:
            order = tf.random.experimental.stateless_shuffle(order, draw)

        def of_shard(shard: tf.Tensor) -> tf.data.Dataset:
            numbered = tf.data.TFRecordDataset(files[shard], buffer_size=1 << 20).enumerate()
            return numbered.map(lambda n, record: self._measure(record, n * number + shard))

        records = tf.data.Dataset.from_tensor_slices(order).flat_map(of_shard)
        return records.filter(lambda record: record["fits"]) if drop_long else records

    def _measure(self, record: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds to a serialized example the positions of its longer side, cut to the maximum."""
        sizes = self._sizes(self._values(record[None]))
        fits, longest = tf.constant(True), tf.constant(1)
        for key, feature in self._features.items():
            most = lengths.max_length(feature)
            fits = fits & (sizes[key][0] <= most)
            longest = tf.maximum(longest, lengths.positions(feature, tf.minimum(sizes[key][0], most)))
        slant = sizes["inputs"][0] - sizes["targets"][0]
        return {"record": record, "index": index, "positions": longest, "slant": slant, "fits": fits}

    @property
    def _features(self) -> dict[str, Feature]:
        return {"inputs": self.problem.inputs, "targets": self.problem.targets}

    def _values(self, records: tf.Tensor) -> dict[str, Any]:
        """What is stored under each key: ragged ids (B, None), bytes (B,) or integers (B,)."""
        stored: dict[str, Any] = {}
        for key, feature in self._features.items():
            if isinstance(feature, Text):
                stored[key] = tf.io.RaggedFeature(tf.int64)
            else:
                stored[key] = tf.io.FixedLenFeature([], tf.string if isinstance(feature, Image | Audio) else tf.int64)
        return tf.io.parse_example(records, stored)

    def _sizes(self, values: dict[str, Any]) -> dict[str, tf.Tensor]:
        """int32 (B,): tokens without the end token, samples, or 1."""
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

    def _parse(self, batch: dict[str, tf.Tensor], edges: list[int], references: bool) -> dict[str, tf.Tensor]:
        """Serialized examples (B,) to the batch that `batches` promises."""
        values, draw = self._values(batch["record"]), None
        sizes = self._sizes(values)
        if "draw" in batch:
            draw = CropSeed(batch["draw"], batch["index"], self.problem.random_flip)
        parsed = {"index": batch["index"]} | self._assemble(values, sizes, edges, draw)
        if references:
            longest = tf.reduce_max(sizes["targets"])
            parsed["references"] = pad_text(values["targets"], longest, longest + 1)
        return parsed

    def _assemble(
        self,
        values: dict[str, Any],
        sizes: dict[str, tf.Tensor],
        edges: list[int] | None = None,
        draw: CropSeed | None = None,
    ) -> dict[str, tf.Tensor]:
        """Stored values (B,) to tensors, cut to the maximum and padded to the first edge that holds the longest.

        Pictures are cropped, and flipped, as drawn; without a draw they are cropped in the middle.
        """
        parsed = {}
        for key, value in values.items():
            feature = self._features[key]
            size = tf.minimum(sizes[key], lengths.max_length(feature))
            edge = lengths.positions(feature, tf.reduce_max(size))
            if edges is not None:
                edge = tf.constant(edges)[tf.searchsorted(edges, tf.reshape(edge, [1]))[0]]
            if isinstance(feature, Text):
                parsed[key] = pad_text(value, lengths.max_length(feature), edge)
            elif isinstance(feature, Image):
                parsed[key] = decode_and_crop(value, feature.rows, feature.columns, draw)
            elif isinstance(feature, Audio):
                parsed[key] = decode_audio(value, lengths.max_length(feature), edge)
                parsed[f"{key}_length"] = size
            else:
                parsed[key] = tf.cast(value, tf.int32)
        return parsed


def _shuffle_buffer(stored: Split) -> int:
    """Examples in the shuffle buffer: all, or as many as fit in memory."""
    return max(1, min(stored.examples, _SHUFFLE_EXAMPLES, _CACHE_BYTES * stored.examples // max(1, stored.bytes)))
