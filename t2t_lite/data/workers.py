"""Work done in order by several processes that go without TensorFlow."""

import itertools
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError

_CHUNK = 32  # items sent to a worker at once


class Workers:
    """Processes that keep the order of what they are given, so that results do not depend on their number.

    Each has a pipe and one chunk of work at a time. (The pools of the standard library share queues and locks, which
    a Ctrl-C at the wrong moment leaves locked.)

    Args:
      number: how many; 1 works in this process; None takes the processors that this process may use.
      usr_dirs: the user's own folders, imported in each process.
    """

    def __init__(self, number: int | None = None, usr_dirs: Sequence[str] = ()):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.number = number or available
        self._usr_dirs = list(usr_dirs)
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> "Workers":
        if self.number > 1:
            spawn = multiprocessing.get_context("spawn")  # a fork would copy half of TensorFlow's threads
            previous = signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # workers inherit it: Ctrl-C is left to this process
            try:
                for _ in range(self.number):
                    ours, theirs = spawn.Pipe()
                    process = spawn.Process(target=_serve, args=(theirs, self._usr_dirs), daemon=True)
                    process.start()
                    theirs.close()
                    self._processes.append(process)
                    self._pipes.append(ours)
            finally:
                signal.signal(signal.SIGINT, previous)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            pipe.close()
            if error:
                process.terminate()
        for process in self._processes:
            process.join()

    def map(self, function: Callable[[int, list[Any]], list[Any]], items: Iterable[Any]) -> Iterator[Any]:
        """Yields what `function(number of the first item, items)` returns for each item, in order.

        Only one chunk a worker is under way at a time, so that any number of items fits in memory.

        Raises:
          UserError: a worker was killed, by the system short of memory for instance; or what `function` raises.
        """
        items = iter(items)
        chunks = iter(lambda: list(itertools.islice(items, _CHUNK)), [])
        busy: deque[Connection] = deque()
        for first, chunk in zip(itertools.count(0, _CHUNK), chunks, strict=False):
            if not self._pipes:
                yield from function(first, chunk)
                continue
            answer = []
            if len(busy) < self.number:
                pipe = self._pipes[len(busy)]
            else:
                pipe = busy.popleft()
                answer = _receive(pipe)
            _send(pipe, (function, first, chunk))
            busy.append(pipe)
            yield from answer
        while busy:
            yield from _receive(busy.popleft())


def _send(pipe: Connection, work: tuple[Any, ...]) -> None:
    try:
        pipe.send(work)
    except ConnectionError as e:
        raise UserError(_DIED) from e


def _receive(pipe: Connection) -> list[Any]:
    """The answer of a worker; raises the error that it met."""
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionError) as e:
        raise UserError(_DIED) from e
    if isinstance(answer, Exception):
        raise answer
    return answer


_DIED = "a worker process died; is memory short? try a smaller --num_workers"


def _serve(pipe: Connection, usr_dirs: list[str]) -> None:
    """What a worker does until the main process closes its pipe, or ends."""
    registry.import_usr_dirs(usr_dirs)
    while True:
        try:
            function, first, chunk = pipe.recv()
        except EOFError:
            return
        answer: list[Any] | Exception
        try:
            answer = function(first, chunk)
        except UserError as e:
            answer = e
        except Exception:
            answer = RuntimeError(f"in a worker process:\n{traceback.format_exc()}")
        pipe.send(answer)
