"""Errors that are meant for the user: one clear line, no traceback."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. Commands print its text as one line and exit with status 1."""


class Stopped(Exception):
    """Work that a signal ended in good order. The text says what is saved.

    Attributes:
      status: the exit status, as shells count it: 128 and the signal's number.
    """

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status


class UnknownNameError(UserError):
    """A name that is not registered. The text suggests the nearest names that are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        super().__init__(f"unknown {kind} '{name}'{did_you_mean(name, known)}")
        self.name = name

    def __reduce__(self) -> tuple[type[UserError], tuple[str]]:
        return UserError, (str(self),)  # what arrives when a worker process raises it


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x' or 'y'?`, or `; known: ...` where nothing is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if near:
        return "; did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    if len(known) > 12:
        return f"; known: {', '.join(known[:12])}, and {len(known) - 12} more (--registry_help lists them)"
    return f"; known: {', '.join(known)}" if known else "; none is registered"
