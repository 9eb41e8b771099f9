"""How the length of an example is counted when examples are gathered into batches."""

import bisect
from collections.abc import Mapping

from t2t_lite.hparams.hparams import HParams
from t2t_lite.problems.features import Audio, Feature, Text
from t2t_lite.problems.problem import Problem

# Samples of a waveform that count as one position: the audio net shortens time, and its cost is set against that of
# text by this number. Manifests count in it: raise manifest.FORMAT when it changes.
SAMPLES_PER_POSITION = 640

_COARSE = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# Steps of an eighth of the power of two below, so that what is longest in a batch is padded by 6 % on average.
_FINE = (*range(4, 16), *(step * 2**doubling for doubling in range(1, 10) for step in range(8, 16)), 8192)


def positions(feature: Feature, length: int) -> int:
    """Positions that a stored value takes in a batch.

    Args:
      feature: what the value is.
      length: tokens without the end token of a text, samples of a waveform; anything else takes one position.
    """
    if isinstance(feature, Text):
        return length + 1
    if isinstance(feature, Audio):
        return -(-length // SAMPLES_PER_POSITION)
    return 1


def max_length(feature: Feature) -> int:
    """The longest stored value that the network is given: tokens without the end token, or samples."""
    if isinstance(feature, Text):
        return feature.max_length - 1
    if isinstance(feature, Audio):
        return int(feature.max_seconds * feature.sample_rate)
    return 1


def bucket_edges(inputs: Feature, targets: Feature, fine: bool = True) -> list[int]:
    """Positions to which batches are padded, ascending; the last holds the longest example."""
    longest = max(positions(feature, max_length(feature)) for feature in (inputs, targets))
    return [edge for edge in (_FINE if fine else _COARSE) if edge < longest] + [longest]


def batch_size(edge: int, batch_tokens: int, batch_max_examples: int) -> int:
    """Examples in a batch whose longer side is padded to `edge` positions."""
    return max(1, min(batch_max_examples, batch_tokens // edge))


def batch_sizes(problem: Problem, hparams: HParams, positions: Mapping[int, int] | None = None) -> dict[int, int]:
    """{edge: examples in a batch} of a problem, edges ascending.

    `hparams.batch_multipliers` stretches or shrinks the batches of the problems that it names.

    Args:
      problem: the problem.
      hparams: fine_buckets, batch_tokens, batch_max_examples and batch_multipliers are read.
      positions: {positions of the longer side: examples} of the split, as manifests count them. Fine edges that would
        not fill a batch in an epoch are left out, for else a small split has nothing but small batches.
    """
    multiplier = hparams.per_problem("batch_multipliers").get(problem.name, 1.0)
    tokens, examples = int(multiplier * hparams.batch_tokens), max(1, int(multiplier * hparams.batch_max_examples))
    all_edges = bucket_edges(problem.inputs, problem.targets, hparams.fine_buckets)
    sizes = {edge: batch_size(edge, tokens, examples) for edge in all_edges}
    if positions is None or not hparams.fine_buckets:
        return sizes
    *edges, last = sizes
    counts, waiting, kept = _in_buckets(positions, list(sizes)), 0, {}
    for edge in edges:
        waiting += counts[edge]
        if waiting >= sizes[edge]:
            kept[edge], waiting = sizes[edge], 0
    return kept | {last: sizes[last]}


def batches_in_epoch(positions: Mapping[int, int], sizes: Mapping[int, int]) -> int:
    """Batches that an epoch of training has, small ones included.

    Args:
      positions: {positions of the longer side: examples}, as manifests count them.
      sizes: what `batch_sizes` gives.
    """
    examples = _in_buckets(positions, list(sizes))
    return sum(-(-examples[edge] // size) for edge, size in sizes.items())


def _in_buckets(positions: Mapping[int, int], edges: list[int]) -> dict[int, int]:
    """{edge: examples}."""
    examples = dict.fromkeys(edges, 0)
    for length, count in positions.items():
        examples[edges[bisect.bisect_left(edges, length)]] += count
    return examples
