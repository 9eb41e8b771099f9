"""Files of lines of text."""

from pathlib import Path

from t2t_lite.errors import UserError


def read_lines(path: Path, flag: str) -> list[str]:
    """The lines of a UTF-8 file. A line ends with a line feed, or carriage return and line feed, and nothing else.

    Args:
      path: the file.
      flag: what named it, for messages.

    Raises:
      UserError: it is not UTF-8.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as e:
        raise UserError(f"{flag}: {path}: not UTF-8 text ({e.reason} at byte {e.start})") from e
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
