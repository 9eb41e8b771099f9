"""Atomic replacement of a folder, for a run of averaged weights and for an export."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError


def check_not_inside(flag: str, folder: Path) -> None:
    """Raises UserError if the current folder is `folder` or inside it: a shell there would keep the old one."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(f"{flag}: {folder.resolve()} holds the folder you are in and cannot be replaced; give another")


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `folder` when the block ends; after an error `folder` is unchanged.

    If `folder` is a link to a folder, that folder is replaced and the link stays.

    Raises:
      OSError: the disk is full, or the folder cannot be renamed.
    """
    folder = folder.resolve()
    unfinished, before = (folder.with_name(folder.name + ending) for ending in (".unfinished", ".before"))
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        shutil.rmtree(before, ignore_errors=True)
        if folder.exists():
            folder.rename(before)
        try:
            os.replace(unfinished, folder)
        except BaseException:
            if before.exists():
                before.rename(folder)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
