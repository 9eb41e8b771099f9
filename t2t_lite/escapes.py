"""Text that is safe to print: escapes what would control a terminal, break a line or have no UTF-8 form."""

import unicodedata
from pathlib import Path

# Controls, lone surrogates (bytes of file names that are not UTF-8), line and paragraph separators.
_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_BIDI = set(  # they change the direction of writing
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def escape_controls(text: str) -> str:
    r"""Replaces such characters by Python escapes, `\x1b` or `\n` for instance; all other characters stay."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CATEGORIES or c in _BIDI else c for c in text
    )


def printable(path: str | Path) -> str:
    r"""Returns a path as text that UTF-8 can encode: other bytes of a name become escapes such as \udce9."""
    return str(path).encode("utf8", "backslashreplace").decode("utf8")
