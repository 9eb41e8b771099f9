"""Folders that are replaced as a whole: a run of averaged weights, an export."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError


def check_not_inside(flag: str, folder: Path) -> None:
    """Raises UserError where the folder of a flag holds the current one, whose replacement a shell would not see."""
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(f"{flag}: {folder.resolve()} holds the folder you are in and cannot be replaced; give another")


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside another, whose place it takes on leaving; on an error the other stays as it was.

    Where `folder` is a link to a folder, that folder is replaced and the link stays.

    Raises:
      OSError: there is no room, or the folder cannot be renamed.
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
