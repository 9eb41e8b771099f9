"""Work done in order by several processes that go without TensorFlow."""

import itertools
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError

# Items sent to a worker at once: few at first, then as many as make messages of this size, both ways.
_FIRST_CHUNK, _LONGEST_CHUNK, _CHUNK_BYTES = 16, 256, 1 << 20
_OWN_CHUNK = 64  # items that this process works on at once


class WorkerDied(UserError):
    """A worker ended without an answer; what was done before it stays good."""


class WorkerPool:
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

    def __enter__(self) -> "WorkerPool":
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

    def map(self, function: Callable[[list[Any]], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yields what `function` returns for each chunk of the items, in order. The chunks' sizes are not to matter.

        Only one chunk a worker is under way at a time, and chunks of large items have few, so that any number of items
        of any size fits in memory.

        Raises:
          WorkerDied: a worker was killed, by the system short of memory for instance.
        Whatever `function` raises is raised too.
        """
        items = iter(items)
        size = _FIRST_CHUNK if self._pipes else _OWN_CHUNK
        busy: deque[tuple[Connection, int, int]] = deque()  # pipe, items and bytes that it was sent
        while chunk := list(itertools.islice(items, size)):
            if not self._pipes:
                yield function(chunk)
                continue
            answers = []
            if len(busy) < self.number:
                pipe = self._pipes[len(busy)]
            else:
                pipe, number, sent = busy.popleft()
                answer, received = _receive(pipe)
                answers.append(answer)
                size = max(1, min(_LONGEST_CHUNK, 2 * size, _CHUNK_BYTES * number // max(sent, received)))
            busy.append((pipe, len(chunk), _send(pipe, (function, chunk))))
            yield from answers
        while busy:
            yield _receive(busy.popleft()[0])[0]


def _send(pipe: Connection, work: tuple[Any, ...]) -> int:
    """Gives work to a worker; returns its size in bytes."""
    pickled = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
    try:
        pipe.send_bytes(pickled)
    except ConnectionError as e:
        raise WorkerDied(_DIED) from e
    return len(pickled)


def _receive(pipe: Connection) -> tuple[Any, int]:
    """The answer of a worker and its size in bytes; raises the error that it met."""
    try:
        pickled = pipe.recv_bytes()
    except (EOFError, OSError) as e:
        raise WorkerDied(_DIED) from e
    answer = pickle.loads(pickled)
    if isinstance(answer, _Failure):
        raise answer.error
    return answer, len(pickled)


_DIED = "a worker process died; is memory short? try a smaller --num_workers"


@dataclass
class _Failure:
    """What a worker answers where the function raised."""

    error: Exception


def _serve(pipe: Connection, usr_dirs: list[str]) -> None:
    """What a worker does until the main process closes its pipe, or ends."""
    registry.import_usr_dirs(usr_dirs)
    while True:
        try:
            function, chunk = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):  # it closed the pipe, or was killed
            return
        try:
            answer = pickle.dumps(function(chunk), pickle.HIGHEST_PROTOCOL)
        except UserError as e:
            answer = pickle.dumps(_Failure(e))
        except Exception:
            answer = pickle.dumps(_Failure(RuntimeError(f"in a worker process:\n{traceback.format_exc()}")))
        try:
            pipe.send_bytes(answer)
        except ConnectionError:
            return
