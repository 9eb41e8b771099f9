"""Paths in messages."""

from pathlib import Path


def printable(path: str | Path) -> str:
    r"""A path as text that UTF-8 can encode; bytes of a name that are not UTF-8 become escapes such as \udce9."""
    return str(path).encode("utf8", "backslashreplace").decode("utf8")
