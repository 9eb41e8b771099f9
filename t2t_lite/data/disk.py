"""Whether what is to be generated fits on the disk, which is better known before than after."""

import shutil
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


def gigabytes(size: int) -> str:
    """A number of bytes, as people say it."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"
