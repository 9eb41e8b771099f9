"""The folder of records before anything is written there: is there room for it, and is nobody else at work?"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError


def check_space(data_dir: Path, needed: dict[str, int]) -> None:
    """Raises UserError where the folder's disk has less space than is needed.

    Args:
      data_dir: the folder.
      needed: {problem: bytes, estimated}.
    """
    total, free = sum(needed.values()), shutil.disk_usage(data_dir).free
    if total > free:
        each = ", ".join(f"{name} {gigabytes(size)}" for name, size in needed.items())
        raise UserError(
            f"--data_dir: {data_dir} has {gigabytes(free)} free, and the records need about {gigabytes(total)} "
            f"({each}): make room, or generate fewer problems at once"
        )


@contextlib.contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Keeps every other t2t-datagen of this machine out of the folder, until this process leaves or dies.

    Raises:
      UserError: one is at work in it.
    """
    descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(descriptor)
        raise UserError(
            f"--data_dir: another t2t-datagen is at work in {data_dir}: wait for it, or name all problems in one call"
        ) from e
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def gigabytes(size: int) -> str:
    """A number of bytes, as people say it."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"
