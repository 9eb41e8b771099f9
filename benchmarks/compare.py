"""Shared by the benchmarks: timing one call against another in turns, and the --tiny flag."""

import argparse
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_tiny


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, including the work that it leaves to the device."""
    start = time.perf_counter()
    call()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def ratio(measured: Callable[[], object], reference: Callable[[], object], repetitions: int = 30) -> tuple[float, str]:
    """Times both calls in turns, so that load on the machine slows both alike. One warm-up call each traces graphs.

    Returns:
      The median of `measured` over that of `reference`, and both medians as text.
    """
    seconds(measured), seconds(reference)
    pairs = [(seconds(measured), seconds(reference)) for _ in range(repetitions)]
    median, reference_median = (statistics.median(column) for column in zip(*pairs, strict=True))
    return median / reference_median, f"{1000 * median:.2f} ms to {1000 * reference_median:.2f} ms"


def parse_tiny(arguments: list[str] | None) -> bool:
    """Parses the only flag of most benchmarks, --tiny."""
    parser = argparse.ArgumentParser()
    add_tiny(parser)
    return parser.parse_args(arguments).tiny


def add_tiny(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, one repetition: only checks that it runs")


def model_hparams(tiny: bool) -> HParams:
    """multimodel_tiny, or with --tiny a still smaller network."""
    if not tiny:
        return multimodel_tiny()
    return multimodel_tiny().replace(
        hidden_size=8,
        filter_size=8,
        num_heads=2,
        encoder_blocks=1,
        mixer_blocks=1,
        decoder_blocks=1,
        attention_conv_blocks=0,
        num_experts=2,
        experts_per_position=1,
        image_width=2,
        categorical_width=6,
    )
