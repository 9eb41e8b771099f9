"""Paths that TensorFlow takes literally: in those of checkpoints and SavedModels it reads `[ ] * ? \\` as patterns.

Saving into `run[1]` works and loading from it finds no files; `run*` matches other folders too.
TensorFlow also refuses names that are not UTF-8."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PATTERN = frozenset("[]*?\\")
_DESCRIPTORS = Path("/proc/self/fd")  # Linux


@contextlib.contextmanager
def literal_path(folder: Path) -> Iterator[Path]:
    """Yields a path of an existing folder that TensorFlow reads literally; it is valid inside the `with` block.

    The path is the folder's own, unless TensorFlow would misread it.
    """
    name = str(folder)
    if not _PATTERN.intersection(name) and _is_utf8(name):
        yield folder
    elif _DESCRIPTORS.is_dir():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            yield _DESCRIPTORS / str(descriptor)
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            link = Path(temporary, "folder")
            link.symlink_to(folder.absolute())
            yield link


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf8")
    except UnicodeEncodeError:  # Python decodes other bytes in file names to lone surrogates
        return False
    return True
