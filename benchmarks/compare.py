"""What the benchmarks share: one thing timed against another, in turns, so that a busy machine slows both alike."""

import statistics
import time
from collections.abc import Callable

import tensorflow as tf


def seconds(call: Callable[[], object]) -> float:
    """Seconds that one call takes, the device's work included."""
    start = time.perf_counter()
    call()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def ratio(measured: Callable[[], object], reference: Callable[[], object], repetitions: int = 30) -> tuple[float, str]:
    """Times both in turns, each once beforehand so that no graph is built meanwhile.

    Returns:
      the median of `measured` over that of `reference`, and both medians as text.
    """
    seconds(measured), seconds(reference)
    pairs = [(seconds(measured), seconds(reference)) for _ in range(repetitions)]
    one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return one / other, f"{1000 * one:.2f} ms to {1000 * other:.2f} ms"
