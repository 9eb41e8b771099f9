"""Escapes characters of the user's data that would control a terminal or break a line."""

import unicodedata

_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escape_controls(text: str) -> str:
    r"""Writes control characters as Python escapes such as `\x1b` and `\n`; all other characters stay."""
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CATEGORIES or c in _BIDI else c for c in text
    )
