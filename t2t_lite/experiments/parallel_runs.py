"""Trains several runs at a time, each in a process of its own, on its share of the processors.

A small network does not keep several processors busy: on two, two runs side by side take 0.6 of the time of one after
the other (benchmarks/NOTES.md).
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from t2t_lite import registry
from t2t_lite.errors import Stopped, UserError
from t2t_lite.processors import processors

LOG = "log.txt"  # in the folder of a run: what it prints


def in_processes(
    names: Sequence[str],
    work: Callable[[str], None],
    folder: Callable[[str], Path],
    number: int,
    usr_dirs: Sequence[str] = (),
) -> Generator[tuple[str, bool], None, None]:
    """Calls work(name) for each name, each in a new process.

    Args:
      names: the runs, in the order in which they start.
      work: can be pickled.
      folder: the folder of a run; what it prints is appended to its LOG.
      number: processes at a time.
      usr_dirs: the user's own folders, imported in each process.

    Yields:
      (name, False) when its process has started, (name, True) when it has ended well.

    Raises:
      UserError: a process ended with an error. The others are asked to save and stop first.
      Stopped: SIGTERM or Ctrl-C; all processes have saved and stopped.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork is unsafe once TensorFlow has started threads
    shares = _shares(number)
    free, todo = list(range(number)), list(names)
    running: dict[BaseProcess, tuple[str, int]] = {}
    with _stopped_by_signal():
        try:
            while todo or running:
                while todo and free:
                    name, place = todo.pop(0), free.pop(0)
                    arguments = (work, name, folder(name) / LOG, shares[place], list(usr_dirs))
                    process: BaseProcess = spawn.Process(target=_run, args=arguments, daemon=True)
                    process.start()
                    running[process] = name, place
                    yield name, False
                wait([process.sentinel for process in running])
                for process in [each for each in running if not each.is_alive()]:
                    name, place = running.pop(process)
                    process.join()
                    free.append(place)
                    if process.exitcode:
                        raise UserError(_failure(name, process.exitcode, folder(name) / LOG))
                    yield name, True
        finally:
            for process in running:
                process.terminate()  # SIGTERM: training saves a checkpoint first
            for process in running:
                process.join()


def _shares(number: int) -> list[list[int]]:
    """Divides the processors over `number` processes; with more processes than processors some have the same one."""
    mine = processors()
    return [mine[place::number] or [mine[place % len(mine)]] for place in range(number)]


def _failure(name: str, status: int, log: Path) -> str:
    if status < 0:
        return f"run {name} was ended by {signal.Signals(-status).name}, perhaps because memory ran out; see {log}"
    lines = log.read_text(encoding="utf8", errors="replace").strip().splitlines() if log.exists() else []
    return f"run {name}: {lines[-1] if lines else f'exit status {status}'} (see {log})"


@contextlib.contextmanager
def _stopped_by_signal() -> Iterator[None]:
    """Turns SIGTERM into Stopped inside, in the main thread; KeyboardInterrupt comes by itself."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped("stopped by SIGTERM; all runs are saved", 128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(work: Callable[[str], None], name: str, log: Path, share: Sequence[int], usr_dirs: Sequence[str]) -> None:
    """The whole life of a process."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, which asks this process to stop
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf8") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    threading.Thread(target=_stop_after_parent, daemon=True).start()
    try:
        registry.import_usr_dirs(usr_dirs)
        work(name)
    except Stopped as e:
        sys.exit(e.status)
    except UserError as e:
        print(f"error: {e}", flush=True)
        sys.exit(1)


def _stop_after_parent() -> None:
    """Stops this process when the parent was killed: started again, that would train the same runs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
