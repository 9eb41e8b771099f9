"""Paths that TensorFlow takes literally, for folders whose names have pattern characters or are not UTF-8."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from t2t_lite.errors import UserError

# Characters of patterns, the backslash that escapes them, and what Python makes of bytes that are not UTF-8.
_NOT_LITERAL = re.compile(r"[*?\[\]{}\\\udc80-\udcff]")


@contextlib.contextmanager
def literal_path(folder: Path) -> Iterator[Path]:
    """Yields a path of `folder` that TensorFlow takes literally, valid inside the block.

    TensorFlow matches the path of a checkpoint as a pattern when it reads it, so that nothing in a folder `run[1]` is
    found, and no escape helps; it refuses paths that are not UTF-8. Such a folder is reached through a symbolic link.

    Raises:
      UserError: the folder for temporary files has such a name as well.
    """
    if not _NOT_LITERAL.search(str(folder)):
        yield folder
        return
    if _NOT_LITERAL.search(tempfile.gettempdir()):
        raise UserError(
            f"{folder}: TensorFlow cannot read from a folder of this name; rename it, or set TMPDIR to a folder whose "
            r"name has none of * ? [ ] { } \ "
        )
    with tempfile.TemporaryDirectory(prefix="t2t_lite_path_") as links:
        link = Path(links) / "folder"
        link.symlink_to(folder.absolute())
        yield link
