"""Reads a text file as lines."""

from pathlib import Path

from t2t_lite.errors import UserError
from t2t_lite.problems.files import check_text


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
    check_text(content, f"{flag}: {path}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{flag}: {path}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
