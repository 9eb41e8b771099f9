"""Reads the training batches of many problems ahead, with a fixed number of threads and a bound on memory."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import tensorflow as tf

Batch = dict[str, tf.Tensor]

THREADS = max(2, min(8, os.cpu_count() or 2))
STEPS = 2 * THREADS  # steps whose batches are read ahead
_MAX_BYTES = 1 << 30  # of batches read ahead


class ReadAhead:
    """Gives the next batch of any problem, and reads those of the coming steps meanwhile.

        loaders = {"reverse": dataset.loader("train", hparams, shuffle=True, repeat=True)}
        with ReadAhead(loaders, {"reverse": 0}) as batches:
            batch = batches.next("reverse", ["reverse"] * STEPS)

    The number of threads and of batches kept does not depend on the number of problems.

    Args:
      loaders: {problem: returns a batch by its number}; called in several threads.
      first: {problem: the number of the first batch to give}.
    """

    def __init__(self, loaders: Mapping[str, Callable[[int], Batch]], first: Mapping[str, int]):
        self._loaders = loaders
        self._numbers = dict(first)  # of the next batch to give
        self._read: dict[tuple[str, int], Future[Batch]] = {}  # batches read ahead, by problem and number
        self._bytes: dict[str, int] = {}  # of the last batch of each problem
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="t2t-read")

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._threads.shutdown(cancel_futures=True)

    def next(self, problem: str, coming: Sequence[str] = ()) -> Batch:
        """Returns the next batch of a problem.

        Args:
          problem: the problem.
          coming: the problems of the steps after this one, whose batches to read ahead. They may turn out to be others;
            batches that were read ahead and are no longer among the coming ones are read again later.

        Raises:
          tf.errors.OpError: a record is damaged.
        """
        future = self._future(problem, self._numbers[problem])
        self._numbers[problem] += 1
        self._read_ahead(coming)
        batch = future.result()
        self._bytes[problem] = sum(value.dtype.size * value.shape.num_elements() for value in batch.values())
        return batch

    def _read_ahead(self, coming: Sequence[str]) -> None:
        numbers, size = dict(self._numbers), 0
        wanted: dict[tuple[str, int], Future[Any]] = {}
        for name in coming:
            size += self._bytes.get(name, 0)
            if wanted and size > _MAX_BYTES:
                break
            wanted[name, numbers[name]] = self._future(name, numbers[name])
            numbers[name] += 1
        for future in self._read.values():  # those left are not wanted
            future.cancel()
        self._read = wanted

    def _future(self, problem: str, number: int) -> "Future[Batch]":
        """Takes a batch out of those read ahead, or begins to read it."""
        return self._read.pop((problem, number), None) or self._threads.submit(self._loaders[problem], number)
