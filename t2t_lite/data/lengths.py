"""Lengths in positions, bucket boundaries, and the batch size of each bucket."""

import bisect
from collections.abc import Mapping

from t2t_lite.hparams.hparams import HParams
from t2t_lite.problems.features import Audio, Feature, Image, Inputs, Text, input_features, parts
from t2t_lite.problems.problem import Problem

# Samples of a waveform that count as one position: the audio net shortens time, and this number relates its cost to
# that of text. Manifests store positions: raise manifest.FORMAT if it changes.
SAMPLES_PER_POSITION = 640

_COARSE = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Steps of an eighth of the next lower power of two, so that the longest example of a batch has 6 % padding on average.
_FINE = (*range(4, 16), *(step * 2**doubling for doubling in range(1, 10) for step in range(8, 16)), 8192)


def positions(feature: Feature, length: int) -> int:
    """The length in positions by which a stored value is put into a bucket.

    Args:
      feature: the value's feature.
      length: tokens without the end token, or samples; ignored for other features, which count as 1: all pictures of a
        problem have the same size (`picture_positions`), so that they do not need buckets.
    """
    if isinstance(feature, Text):
        return length + 1
    if isinstance(feature, Audio):
        return -(-length // SAMPLES_PER_POSITION)
    return 1


def inputs_positions(inputs: Inputs, sizes: Mapping[str, int]) -> int:
    """The length of an example's inputs in positions. Those of several features add up, pictures apart.

    Args:
      inputs: the problem's.
      sizes: the lengths by the keys of `features.input_features`.
    """
    if not isinstance(inputs, tuple):
        return positions(inputs, sizes["inputs"])
    features = input_features(inputs)
    return max(1, sum(positions(f, sizes[key]) for key, f in features.items() if not isinstance(f, Image)))


def longest_inputs(inputs: Inputs) -> int:
    """The most positions of inputs, each cut to its feature's maximum; see `inputs_positions`."""
    return inputs_positions(inputs, {key: max_length(feature) for key, feature in input_features(inputs).items()})


def stored_inputs_length(inputs: Inputs, sizes: Mapping[str, int]) -> int:
    """The length of an example's inputs that the index stores: for several features their positions.

    It is more than `longest_inputs` if one of several inputs exceeds its feature's maximum.
    """
    if not isinstance(inputs, tuple):
        return sizes["inputs"]
    fits = all(sizes[key] <= max_length(feature) for key, feature in input_features(inputs).items())
    return inputs_positions(inputs, sizes) if fits else longest_inputs(inputs) + 1


def picture_positions(problem: Problem, hparams: HParams) -> int:
    """The positions that the image net makes of a picture of the problem: 1 if it has no pictures.

    The net halves each side `hparams.image_strides` times, rounding up. Those of several input pictures add up.
    """
    factor = 2**hparams.image_strides
    pictures = [feature for feature in parts(problem.inputs) if isinstance(feature, Image)]
    return max(1, sum(-(-picture.rows // factor) * -(-picture.columns // factor) for picture in pictures))


def _with_picture(positions: int, picture: int, problem: Problem) -> int:
    """The positions of the longer side with those of a picture, beside which several inputs have others."""
    return positions + picture if isinstance(problem.inputs, tuple) else max(positions, picture)


def with_pictures(positions: Mapping[int, int], problem: Problem, hparams: HParams) -> dict[int, int]:
    """Returns {positions of the longer side: number of examples}, in which pictures count as in `picture_positions`.

    Args:
      positions: the same from a manifest, where a picture counts as 1 position.
      problem: the problem.
      hparams: image_strides is read.
    """
    picture, counts = picture_positions(problem, hparams), dict[int, int]()
    for length, count in positions.items():
        longer = _with_picture(length, picture, problem)
        counts[longer] = counts.get(longer, 0) + count
    return counts


def max_length(feature: Feature) -> int:
    """The maximum length of a value in a batch: tokens without the end token, samples, or 1."""
    if isinstance(feature, Text):
        return feature.max_length - 1
    if isinstance(feature, Audio):
        return int(feature.max_seconds * feature.sample_rate)
    return 1


def bucket_boundaries(inputs: Inputs, targets: Feature, fine: bool = True) -> list[int]:
    """The lengths in positions to which batches are padded, ascending; the last one holds the longest example."""
    longest = max(longest_inputs(inputs), positions(targets, max_length(targets)))
    return [boundary for boundary in (_FINE if fine else _COARSE) if boundary < longest] + [longest]


def batch_size(boundary: int, batch_tokens: int, batch_max_examples: int) -> int:
    """The number of examples in a batch whose longer side takes `boundary` positions."""
    return max(1, min(batch_max_examples, batch_tokens // boundary))


def batch_sizes(problem: Problem, hparams: HParams, positions: Mapping[int, int] | None = None) -> dict[int, int]:
    """Returns {bucket boundary: examples in a batch} of a problem, boundaries ascending.

    A batch has as many examples as `hparams.batch_tokens` allows if each takes the boundary's positions, or those of
    its picture if these are more. `hparams.batch_multipliers` scales the batches of the problems that it names.

    Args:
      problem: the problem.
      hparams: fine_buckets, batch_tokens, batch_max_examples, batch_multipliers and image_strides are read.
      positions: {positions of the longer side: number of examples} of the split, from its manifest. Fine boundaries
        whose bucket would not fill one batch per epoch are left out; otherwise a small split has only small batches.
    """
    multiplier = hparams.per_problem("batch_multipliers").get(problem.name, 1.0)
    tokens, examples = int(multiplier * hparams.batch_tokens), max(1, int(multiplier * hparams.batch_max_examples))
    boundaries = bucket_boundaries(problem.inputs, problem.targets, hparams.fine_buckets)
    picture = picture_positions(problem, hparams)
    positions_of = {boundary: _with_picture(boundary, picture, problem) for boundary in boundaries}
    sizes = {boundary: batch_size(longer, tokens, examples) for boundary, longer in positions_of.items()}
    if positions is None or not hparams.fine_buckets:
        return sizes
    counts, pending, kept = count_in_buckets(positions, boundaries), 0, {}
    *others, last = boundaries
    for boundary in others:
        pending += counts[boundary]
        if pending >= sizes[boundary]:
            kept[boundary], pending = sizes[boundary], 0
    return kept | {last: sizes[last]}


def batches_in_epoch(positions: Mapping[int, int], sizes: Mapping[int, int]) -> int:
    """The number of batches in an epoch of training, including the smaller last batch of each bucket.

    Args:
      positions: {positions of the longer side: number of examples} of the split, from its manifest.
      sizes: from `batch_sizes`.
    """
    counts = count_in_buckets(positions, list(sizes))
    return sum(-(-counts[boundary] // size) for boundary, size in sizes.items())


def count_in_buckets(positions: Mapping[int, int], boundaries: list[int]) -> dict[int, int]:
    """Returns {bucket boundary: number of examples}, from {positions of the longer side: number of examples}."""
    counts = dict.fromkeys(boundaries, 0)
    for length, count in positions.items():
        counts[boundaries[bisect.bisect_left(boundaries, length)]] += count
    return counts
