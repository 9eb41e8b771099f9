"""Checks of the data folder before records are written: free space, and a lock against a second t2t-datagen."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError
from t2t_lite.progress import format_bytes


def check_space(data_dir: Path, needed: dict[str, int]) -> None:
    """Raises UserError if the records need more space than is free.

    Args:
      data_dir: the folder.
      needed: {problem: estimated bytes}.
    """
    total, free = sum(needed.values()), shutil.disk_usage(data_dir).free
    if total > free:
        each = ", ".join(f"{name} {format_bytes(size)}" for name, size in needed.items())
        raise UserError(
            f"--data_dir: {data_dir} has {format_bytes(free)} free, and the records need about {format_bytes(total)} "
            f"({each}): free some space, or generate fewer problems at once"
        )


@contextlib.contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
    """Locks the folder against any other t2t-datagen of this machine. The lock ends with the process, even if killed.

    Raises:
      UserError: another t2t-datagen holds the lock.
    """
    descriptor = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(descriptor)
        raise UserError(
            f"--data_dir: another t2t-datagen is running in {data_dir}: wait for it, or name all problems in one call"
        ) from e
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)
