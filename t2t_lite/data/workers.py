"""Work done in order by several processes that go without TensorFlow."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError

_CHUNK = 32  # items sent to a worker at once


class Workers:
    """Processes that keep the order of what they are given, so that results do not depend on their number.

    Args:
      number: how many; 1 works in this process; None takes the processors that this process may use.
      usr_dirs: the user's own folders, imported in each process.
    """

    def __init__(self, number: int | None = None, usr_dirs: Sequence[str] = ()):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.number = number or available
        self._usr_dirs = list(usr_dirs)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        if self.number > 1:
            spawn = multiprocessing.get_context("spawn")  # a fork would copy TensorFlow's threads half
            self._pool = ProcessPoolExecutor(self.number, spawn, initializer=_start, initargs=(self._usr_dirs,))
            # Each call starts a worker, which inherits what is ignored: Ctrl-C is left to this process.
            previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                for _ in range(self.number):
                    self._pool.submit(os.getpid)
            finally:
                signal.signal(signal.SIGINT, previous)
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[int, list[Any]], list[Any]], items: Iterable[Any]) -> Iterator[Any]:
        """Yields what `function(number of the first item, items)` returns for each item, in order.

        Only a few chunks are under way at a time, so that any number of items fits in memory.

        Raises:
          UserError: a worker was killed, by the system short of memory for instance; or what `function` raises.
        """
        items, first = iter(items), 0
        under_way: deque[Any] = deque()
        try:
            while chunk := list(itertools.islice(items, _CHUNK)):
                if self._pool is None:
                    yield from function(first, chunk)
                else:
                    under_way.append(self._pool.submit(function, first, chunk))
                    if len(under_way) > 2 * self.number:
                        yield from under_way.popleft().result()
                first += len(chunk)
            while under_way:
                yield from under_way.popleft().result()
        except BrokenProcessPool as e:
            raise UserError("a worker process died; is memory short? try a smaller --num_workers") from e


def _start(usr_dirs: list[str]) -> None:
    """Prepares a worker: it ignores Ctrl-C, ends when the main process is killed, and knows the user's problems."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        with contextlib.suppress(Exception):
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    registry.import_usr_dirs(usr_dirs)
