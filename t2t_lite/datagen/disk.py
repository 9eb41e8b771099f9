"""The folder of records before anything is written there: is there room for it, and is nobody else at work?"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError
from t2t_lite.progress import format_bytes


def check_space(data_dir: Path, needed: dict[str, int]) -> None:
    """Raises UserError where the folder's disk has less space than is needed.

    Args:
      data_dir: the folder.
      needed: {problem: bytes, estimated}.
    """
    total, free = sum(needed.values()), shutil.disk_usage(data_dir).free
    if total > free:
        each = ", ".join(f"{name} {format_bytes(size)}" for name, size in needed.items())
        raise UserError(
            f"--data_dir: {data_dir} has {format_bytes(free)} free, and the records need about {format_bytes(total)} "
            f"({each}): make room, or generate fewer problems at once"
        )


@contextlib.contextmanager
def lock_folder(data_dir: Path) -> Iterator[None]:
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
