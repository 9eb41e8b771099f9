"""Shared by the benchmarks: rows of results, timing in turns, the machine's matrix speed, and the scripts' flags.

A benchmark is a module with `rows(size)`, which yields a Row or a LeftOut for each question; size is "full" or "tiny".
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

FOLDER_VARIABLE = "T2T_BENCH_FOLDER"  # a folder for data that several benchmarks use; run.py sets it
PRODUCT = {"full": 2048, "tiny": 64}  # rows and columns of the matrix product that measures the machine
_SECONDS = {"s": 1.0, "ms": 1e-3}


@dataclass(frozen=True)
class Row:
    """One answer. A unit "X/s" means that more is better, any other that less is."""

    question: str  # what is measured, with its sizes
    measured: float  # the best of the repetitions
    unit: str
    reference: str  # what the ratio refers to
    ratio: float
    spread: float | None = None  # (median - best) / best of the repetitions; None for a single one
    target: float | None = None  # of the ratio, or with target_unit of the measured value
    more_is_better: bool = False  # of what has the target
    target_unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether the target is reached."""
        if self.target is None:
            return False
        value, target = self.ratio, self.target
        if self.target_unit:
            value, target = (
                x * _SECONDS.get(u, 1.0) for x, u in ((self.measured, self.unit), (target, self.target_unit))
            )
        return value >= target if self.more_is_better else value <= target

    @property
    def target_text(self) -> str:
        """The target as in "≤ 20 s"; "" if there is none."""
        if self.target is None:
            return ""
        return f"{'≥' if self.more_is_better else '≤'} {number(self.target)} {self.target_unit}".rstrip()


@dataclass(frozen=True)
class LeftOut:
    """A question without an answer here."""

    question: str
    reason: str


Result = Row | LeftOut


class Timing(NamedTuple):
    """Seconds of a repeated call."""

    best: float
    spread: float | None  # (median - best) / best

    @classmethod
    def of(cls, times: list[float]) -> "Timing":
        best = min(times)
        return cls(best, (statistics.median(times) - best) / best if len(times) > 1 else None)


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, including the work that it leaves to the device."""
    import tensorflow as tf

    start = time.perf_counter()
    call()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def timed(
    *calls: Callable[[], object],
    repetitions: int = 30,
    budget: float = 8.0,
    warm_up: Callable[[], object] | None = None,
) -> list[Timing]:
    """Times the calls in turns, so that load on the machine slows all alike.

    Args:
      calls: what is timed.
      repetitions: the most of each; a single one, in tiny sizes, has no warm-up.
      budget: no repetition begins after as many seconds, except the second.
      warm_up: traces the graphs before; by default each call does once.
    """
    if repetitions > 1:
        for call in (warm_up,) if warm_up else calls:
            seconds(call)
    rounds: list[list[float]] = []
    start = time.perf_counter()
    while len(rounds) < repetitions and (len(rounds) < 2 or time.perf_counter() - start < budget):
        rounds.append([seconds(call) for call in calls])
    return [Timing.of(list(times)) for times in zip(*rounds, strict=True)]


def wider(*spreads: float | None) -> float | None:
    """The larger spread of those that are known."""
    return max((spread for spread in spreads if spread is not None), default=None)


def versus(question: str, measured: Timing, reference: str, base: Timing, target: float | None = None) -> Row:
    """The time of a call over that of a reference."""
    ratio, spread = measured.best / base.best, wider(measured.spread, base.spread)
    return Row(question, *readable(measured.best), f"{reference}: {_text(*readable(base.best))}", ratio, spread, target)


def over_product(question: str, measured: Timing, size: str, target_seconds: float | None = None) -> Row:
    """The time of a call over that of the float32 product; the target is in seconds."""
    row = versus(question, measured, product_name(size), product(size))
    if target_seconds is None:
        return row
    target, unit = readable(target_seconds)
    return dataclasses.replace(row, target=target, target_unit=unit)


@functools.cache
def product(size: str, dtype: str = "float32") -> Timing:
    """The time of a square matrix product in this process."""
    import tensorflow as tf

    n = PRODUCT[size]
    x, multiply = tf.cast(tf.random.stateless_normal([n, n], [1, 0]), dtype), tf.function(tf.matmul)
    return timed(lambda: multiply(x, x), repetitions=1 if size == "tiny" else 8, budget=5)[0]


def product_name(size: str, dtype: str = "float32") -> str:
    return f"{PRODUCT[size]}-cube {dtype} product"


def matrix_speed(size: str, dtype: str = "float32") -> float:
    """FLOPs a second of that product."""
    return 2 * PRODUCT[size] ** 3 / product(size, dtype).best


def readable(value: float) -> tuple[float, str]:
    """Seconds, or milliseconds below a second."""
    return (value, "s") if value >= 1 else (1000 * value, "ms")


def _text(value: float, unit: str) -> str:
    return f"{number(value)} {unit}"


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def describe(result: Result) -> str:
    """A line for the terminal."""
    if isinstance(result, LeftOut):
        return f"{result.question}: not measured: {result.reason}"
    spread = "" if result.spread is None else f", spread {result.spread:.0%}"
    target = result.target_text and f", to reach {result.target_text}"
    measured = _text(result.measured, result.unit)
    return f"{result.question}: {measured}; {number(result.ratio)} times {result.reference}{spread}{target}"


def to_json(result: Result) -> dict:
    return dataclasses.asdict(result)


def from_json(stored: dict) -> Result:
    return (LeftOut if "reason" in stored else Row)(**stored)


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """The folder for data that several benchmarks of one `make bench` use; alone, a temporary one."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        yield Path(folder)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of all benchmarks."""
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, one repetition: only checks that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to this file")


def report(results: Iterable[Result], json_file: Path | None = None) -> None:
    """Prints the results as they come; writes them to json_file."""
    stored = []
    for result in results:
        print(describe(result), flush=True)
        stored.append(to_json(result))
    if json_file:
        json_file.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf8")


def main(rows: Callable[[str], Iterable[Result]], arguments: list[str] | None = None) -> None:
    """The command line of most benchmarks."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = parser.parse_args(arguments)
    report(rows("tiny" if flags.tiny else "full"), flags.json)
