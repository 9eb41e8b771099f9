"""Reads the user's own files: lines of text, tables, the file of a split, all files below a folder."""

import codecs
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO

from t2t_lite.errors import UserError
from t2t_lite.escapes import printable

_HEAD_BYTES = 1 << 16  # of a file, by which its encoding is judged
_NOT_DATA = "__MACOSX"  # the folder in zip files of macOS that holds its metadata


def read_lines(path: Path, strip: bool = True) -> Iterator[str]:
    """Yields the lines of a UTF-8 file; accepts CRLF and a byte order mark.

    Args:
      path: the file.
      strip: drop the white space around each line, not only the end of the line.

    Raises:
      UserError: the file cannot be read, or a line is not UTF-8; the text names file and line.
    """
    for line in try_lines(path, strip):
        if isinstance(line, UserError):
            raise line
        yield line


def try_lines(path: Path, strip: bool = True) -> Iterator[str | UserError]:
    """Like `read_lines`, but yields the error for a line that is not UTF-8, and reads on.

    Raises:
      UserError: the file cannot be read, is in UTF-16, or ends its lines in CR alone.
    """
    name = printable(path)
    try:
        with path.open("rb") as file:
            _check_head(file, name)
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf8")
                except UnicodeDecodeError as e:
                    yield UserError(f"{name}:{number}: not UTF-8 ({e.reason} at byte {e.start + 1} of the line)")
                    continue
                text = text.removeprefix("\ufeff") if number == 1 else text
                yield text.strip() if strip else text.rstrip("\r\n")
    except OSError as e:
        raise UserError(f"{name}: cannot be read: {e.strerror}") from e


def count_lines(path: Path) -> int:
    """Counts the lines of a text file.

    Raises:
      UserError: see `try_lines`.
    """
    try:
        with path.open("rb") as file:
            _check_head(file, printable(path))
            return sum(1 for _ in file)
    except OSError as e:
        raise UserError(f"{printable(path)}: cannot be read: {e.strerror}") from e


def check_text(content: bytes, name: str) -> None:
    """Checks the beginning of a text file.

    Raises:
      UserError: it is in UTF-16 or UTF-32, or its lines end in CR alone; `name` names it in the text.
    """
    if _looks_like_utf16(content):
        raise UserError(
            f"{name}: looks like UTF-16: convert it to UTF-8, for instance: iconv -f UTF-16 -t UTF-8 FILE > NEW"
        )
    if b"\r" in content.rstrip(b"\r") and b"\n" not in content:
        raise UserError(f"{name}: its lines end in CR alone: convert them: tr '\\r' '\\n' < FILE > NEW")


def _looks_like_utf16(content: bytes) -> bool:
    """Whether a text begins with UTF-16's byte order mark, or has zero bytes where UTF-16 has them.

    Every line end has one in UTF-16, and every other byte of English is one. Text in UTF-8 may have a few, too.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    zeros = content.count(0) / max(1, len(content))
    return zeros > 0.25 or (zeros > 0.02 and (b"\n\0" in content or b"\0\n" in content))


def _check_head(file: BinaryIO, name: str) -> None:
    check_text(file.read(_HEAD_BYTES), name)
    file.seek(0)


def split_file(split: str, raw_dir: Path, suffix: str, layout: str) -> Path:
    """Returns the file of a split, such as `train.tsv`; `test` serves if there is no `dev`.

    Raises:
      UserError: the file is missing; the text says what layout is expected.
    """
    path = raw_dir / f"{split}{suffix}"
    if split == "dev" and not path.is_file():
        path = raw_dir / f"test{suffix}"
    if not path.is_file():
        raise UserError(f"{printable(raw_dir / (split + suffix))}: missing: {layout}{held_out_hint(split)}")
    return path


def held_out_hint(split: str) -> str:
    """The end of the message that a split is missing."""
    return "; --held_out=5% takes dev from the training split" if split == "dev" else ""


def read_table(path: Path) -> Iterator[tuple[Path, str] | UserError]:
    """Yields (file, text) of lines `file<TAB>text`; skips empty lines. The text may hold tabs.

    Yields an error that names the line if it is not UTF-8, has no tab or no text, or names a file that does not exist.
    """
    for number, line in zip(count(1), try_lines(path), strict=False):
        if isinstance(line, UserError):
            yield line
        elif line:
            name, _, text = (part.strip() for part in line.partition("\t"))
            file = path.parent / name
            where = f"{printable(path)}:{number}"
            if not text:
                yield UserError(f"{where}: expected path<TAB>text, got '{line[:60]}'")
            elif not os.path.isfile(file):  # Path.is_file fails at a name that is too long
                yield UserError(
                    f"{where}: no file {printable(file)}; paths are relative to the folder of {printable(path.name)}"
                )
            else:
                yield file, text


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no data: `.ipynb_checkpoints`, `._photo.png`, `__MACOSX`."""
    return name.startswith(".") or name == _NOT_DATA


def walk_files(folder: str | Path) -> Iterator[Path]:
    """Yields all files below a folder, sorted by path, without hidden files and folders. Follows links to folders.

    Raises:
      UserError: a folder cannot be read.
    """
    yield from _walk(folder, ())


def _walk(folder: str | Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """`walk_files`; `above` identifies the folders that are being walked, since a link may lead back to one."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as scan:
            entries = sorted((entry for entry in scan if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except OSError as e:
        raise UserError(f"{printable(folder)}: cannot be read: {e.strerror}") from e
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _walk(entry.path, (*above, identity))
        elif entry.is_file() or entry.is_symlink():  # reading a link to nowhere ends in an error that names it
            yield Path(entry.path)
