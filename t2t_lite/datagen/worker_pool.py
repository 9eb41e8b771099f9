"""A pool of worker processes without TensorFlow; results come in the order of the items."""

import itertools
import multiprocessing
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
from t2t_lite.processors import processors
from t2t_lite.progress import print_status

# Items per message to a worker: few at first, then as many as keep messages both ways below _CHUNK_BYTES.
_FIRST_CHUNK, _MAX_CHUNK, _CHUNK_BYTES = 16, 256, 1 << 20
_OWN_CHUNK = 64  # items per call of the function when there are no workers
_PER_PROCESSOR = 4  # workers at most; more only take memory


class WorkerDied(UserError):
    """A worker process ended without an answer. Records written before are still good."""


class WorkerPool:
    """Worker processes whose results keep the order of the items, so they do not depend on the number of workers.

    Each worker has a pipe and at most one chunk of work. (The pools of the standard library share queues and locks,
    which a Ctrl-C at the wrong moment leaves locked.)

    Args:
      number: the number of workers, at most 4 per processor; 1 works in this process; None starts one per processor.
      usr_dirs: the user's own folders, imported in each worker.
    """

    def __init__(self, number: int | None = None, usr_dirs: Sequence[str] = ()):
        count = len(processors())
        self.number = min(number or count, _PER_PROCESSOR * count)
        if number and number > self.number:
            print_status(
                f"--num_workers={number}: starting {self.number}, the most for {count} processors "
                "(the files do not depend on it)"
            )
        self._usr_dirs = list(usr_dirs)
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> "WorkerPool":
        if self.number > 1:
            spawn = multiprocessing.get_context("spawn")  # a fork is unsafe once TensorFlow has started threads
            # Workers inherit this: only the main process handles Ctrl-C.
            previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        """Yields `function(chunk)` for each chunk of the items, in order. Results must not depend on chunk sizes.

        Each worker holds one chunk at a time, and chunks of large items are short, so memory does not grow with the
        number of items.

        Raises:
          WorkerDied: a worker was killed, for instance when memory ran out.
        Errors of `function` are raised here too.
        """
        items = iter(items)
        size = _FIRST_CHUNK if self._pipes else _OWN_CHUNK
        busy: deque[tuple[Connection, int, int]] = deque()  # (pipe, items sent, bytes sent), oldest first
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
                size = max(1, min(_MAX_CHUNK, 2 * size, _CHUNK_BYTES * number // max(sent, received)))
            busy.append((pipe, len(chunk), _send(pipe, (function, chunk))))
            yield from answers
        while busy:
            yield _receive(busy.popleft()[0])[0]


def _send(pipe: Connection, work: tuple[Any, ...]) -> int:
    """Sends work to a worker; returns its size in bytes."""
    pickled = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
    try:
        pipe.send_bytes(pickled)
    except ConnectionError as e:
        raise WorkerDied(_DIED) from e
    return len(pickled)


def _receive(pipe: Connection) -> tuple[Any, int]:
    """Returns a worker's answer and its size in bytes; raises the error that the function raised there."""
    try:
        pickled = pipe.recv_bytes()
    except (EOFError, OSError) as e:
        raise WorkerDied(_DIED) from e
    answer = pickle.loads(pickled)
    if isinstance(answer, _Failure):
        raise answer.error
    return answer, len(pickled)


_DIED = "a worker process died, perhaps because memory ran out; try a smaller --num_workers"


@dataclass
class _Failure:
    """A worker's answer if the function raised an error."""

    error: Exception


def _serve(pipe: Connection, usr_dirs: list[str]) -> None:
    """The main loop of a worker, until the main process closes its pipe or ends."""
    registry.import_usr_dirs(usr_dirs)
    while True:
        try:
            function, chunk = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
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
