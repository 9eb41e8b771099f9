"""Parses serialized examples to the tensors of a batch, in graph mode."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.decode_features import decode_audio, pad_text
from t2t_lite.media.crop_pictures import CropSeed, decode_and_crop
from t2t_lite.problems.features import Audio, Feature, Image, Inputs, Text, input_features


@dataclass(frozen=True)
class BatchParser:
    """Parses the examples of problems with these features; problems with equal ones share a graph.

    Attributes:
      inputs, targets: the features.
      random_flip: whether to mirror half of the pictures in training.
    """

    inputs: Inputs
    targets: Feature
    random_flip: bool = False

    @property
    def features(self) -> dict[str, Feature]:
        """The features by the keys of records and batches."""
        return input_features(self.inputs) | {"targets": self.targets}

    def values(self, records: tf.Tensor) -> dict[str, Any]:
        """Parses serialized examples (B,) to {key: ragged ids (B, None), bytes (B,) or integers (B,)}."""
        stored: dict[str, Any] = {}
        for key, feature in self.features.items():
            if isinstance(feature, Text):
                stored[key] = tf.io.RaggedFeature(tf.int64)
            else:
                stored[key] = tf.io.FixedLenFeature([], tf.string if isinstance(feature, Image | Audio) else tf.int64)
        return tf.io.parse_example(records, stored)

    def sizes(self, values: dict[str, Any]) -> dict[str, tf.Tensor]:
        """{key: int32 (B,) tokens without the end token, samples, or 1}."""
        sizes = {}
        for key in values:
            feature = self.features[key]
            if isinstance(feature, Text):
                sizes[key] = tf.cast(values[key].row_lengths(), tf.int32)
            elif isinstance(feature, Audio):
                sizes[key] = tf.strings.length(values[key]) // 2
            else:
                sizes[key] = tf.ones([tf.shape(values[key])[0]], tf.int32)
        return sizes

    def longest(self, sizes: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """{key: positions of the longest value (), each cut to its feature's maximum}."""
        longest = {}
        for key, size in sizes.items():
            feature = self.features[key]
            # 0 for a part without examples
            length = tf.maximum(0, tf.reduce_max(tf.minimum(size, lengths.max_length(feature))))
            longest[key] = lengths.positions(feature, length)
        return longest

    def parse(
        self,
        records: tf.Tensor,
        index: tf.Tensor,
        padded: tf.Tensor,
        crop_seed: tf.Tensor | None,
        references: bool,
    ) -> dict[str, tf.Tensor]:
        """Makes the batch that `Dataset.batches` describes from serialized examples (B,).

        Args:
          records: the examples.
          index: (B,) their positions in the split.
          padded: int32 (2,), the positions to which inputs and targets are padded.
          crop_seed: int64 (2,), crops and flips pictures at random; None: crops them in the middle.
          references: adds the whole targets.
        """
        values = self.values(records)
        sizes = self.sizes(values)
        crops = None if crop_seed is None else CropSeed(crop_seed, index, self.random_flip)
        # Several inputs are each padded to their own longest one.
        lengths_of = self.longest(sizes) | {"inputs": padded[0], "targets": padded[1]}
        parsed = {"index": index} | self.assemble(values, sizes, lengths_of, crops)
        if references:
            longest = tf.maximum(0, tf.reduce_max(sizes["targets"]))  # 0 for a part without examples
            parsed["references"] = pad_text(values["targets"], longest, longest + 1)
        return parsed

    def assemble(
        self,
        values: dict[str, Any],
        sizes: dict[str, tf.Tensor],
        padded: dict[str, tf.Tensor],
        crop_seed: CropSeed | None = None,
    ) -> dict[str, tf.Tensor]:
        """Decodes stored values (B,) to tensors, cut to the maximum and padded to lengths in positions.

        Pictures are cropped in the middle; with a seed, they are cropped and flipped at random.
        """
        parsed = {}
        for key, value in values.items():
            feature = self.features[key]
            size = tf.minimum(sizes[key], lengths.max_length(feature))
            length = padded[key]
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
