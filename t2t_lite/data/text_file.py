"""Reads a text file as lines."""

import codecs
from pathlib import Path

from t2t_lite.errors import UserError


def read_lines(path: Path, flag: str) -> list[str]:
    """Returns the lines of a UTF-8 file; a byte order mark is dropped.

    Only a line feed, or a carriage return and a line feed, ends a line.

    Args:
      path: the file.
      flag: the flag that named it, for messages.

    Raises:
      UserError: the file is not UTF-8, looks like UTF-16, or ends its lines with carriage returns alone.
    """
    content = path.read_bytes()
    if _looks_like_utf16(content):
        raise UserError(f"{flag}: {path}: looks like UTF-16: convert it to UTF-8, for instance with iconv")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{flag}: {path}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    if "\n" not in text and "\r" in text.removesuffix("\r"):
        raise UserError(
            f"{flag}: {path}: its lines end with carriage returns alone: end them with line feeds, for instance with "
            "tr '\\r' '\\n'"
        )
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _looks_like_utf16(content: bytes) -> bool:
    """Whether a file begins with UTF-16's byte order mark, or has zero bytes where UTF-16 has them.

    Every line end has one in UTF-16, and every other byte of English is one. Text in UTF-8 may have a few, too.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    zeros = content.count(0) / max(1, len(content))
    return zeros > 0.25 or (zeros > 0.02 and (b"\n\0" in content or b"\0\n" in content))
