"""Reading the user's own text files: lines, tables, and which file a split is in."""

import codecs
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from t2t_lite.errors import UserError


def read_lines(path: Path, strip: bool = True) -> Iterator[str]:
    """Yields the lines of a UTF-8 file; takes CRLF and a byte order mark.

    Args:
      path: the file.
      strip: drop the white space around each line; without it, only the end of the line is dropped.

    Raises:
      UserError: the file cannot be read, or a line is not UTF-8; the text names file and line.
    """
    for line in try_lines(path, strip):
        if isinstance(line, UserError):
            raise line
        yield line


def try_lines(path: Path, strip: bool = True) -> Iterator[str | UserError]:
    """As `read_lines`, but a line that is not UTF-8 becomes the error that it would raise, and reading goes on.

    Not of a file in UTF-16, whose other lines may look like UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise UserError(f"{path}: a text in UTF-16; save it as UTF-8")
                try:
                    text = line.decode("utf8")
                except UnicodeDecodeError as e:
                    yield UserError(f"{path}:{number}: not UTF-8 ({e.reason} at byte {e.start + 1} of the line)")
                    continue
                text = text.removeprefix("\ufeff") if number == 1 else text
                yield text.strip() if strip else text.rstrip("\r\n")
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e


def split_file(split: str, raw_dir: Path, suffix: str, layout: str) -> Path:
    """The file of a split, such as `train.tsv`; `test` serves where there is no `dev`.

    Raises:
      UserError: it is missing; the text says what layout is expected.
    """
    path = raw_dir / f"{split}{suffix}"
    if split == "dev" and not path.is_file():
        path = raw_dir / f"test{suffix}"
    if not path.is_file():
        raise UserError(f"{raw_dir / (split + suffix)}: missing: {layout}")
    return path


def read_table(path: Path) -> Iterator[tuple[Path, str] | UserError]:
    """Yields (file, text) of lines `file<TAB>text`; empty lines are passed over, and the text may hold tabs.

    A line that is not UTF-8, has no tab or no text, or names a file that is not there becomes an error that names it.
    """
    for number, line in zip(count(1), try_lines(path), strict=False):
        if isinstance(line, UserError):
            yield line
        elif line:
            name, _, text = (part.strip() for part in line.partition("\t"))
            file = path.parent / name
            if not text:
                yield UserError(f"{path}:{number}: expected path<TAB>text, got '{line[:60]}'")
            elif not os.path.isfile(file):  # Path.is_file fails at a name that is too long
                yield UserError(f"{path}:{number}: no file {file}; paths are relative to the folder of {path.name}")
            else:
                yield file, text
