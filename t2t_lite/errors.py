"""Errors that the commands print as one line, without a traceback, and suggestions for misspelled names."""

import difflib
import re
from collections.abc import Callable, Iterable

from t2t_lite.tensor2tensor_names import hint

_LISTED = 12  # known names in a message, if no name is similar


class UserError(Exception):
    """A mistake that the user can correct. Commands print its text as one line and exit with status 1."""


class FlagError(UserError):
    """A missing or wrong flag or argument. Commands exit with status 2."""


class DivergedError(UserError):
    """Training ended because losses or gradients were not finite."""


class Stopped(Exception):
    """The work was stopped by a signal after its state was saved. The text says what is saved.

    Attributes:
      status: the exit status by the shells' convention: 128 plus the signal's number.
    """

    def __init__(self, text: str, status: int):
        super().__init__(text)
        self.status = status


class UnknownNameError(UserError):
    """A name that is not registered. The text suggests similar registered names."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        suggestion = hint(kind, name) or did_you_mean(name, known, listing="t2t-trainer --registry_help")
        super().__init__(f"unknown {kind} '{name}'{suggestion}")
        self.name = name

    def __reduce__(self) -> tuple[type[UserError], tuple[str]]:
        return UserError, (str(self),)  # a worker process sends the text alone


def did_you_mean(
    name: str, known: Iterable[str], *, listing: str = "", quote: Callable[[str], str] = "'{}'".format
) -> str:
    """Returns `; did you mean 'x' or 'y'?`, or `; known: ...` if no known name is similar.

    Case and separators do not count: `MyOne` and `MY-ONE` are similar to `my_one`.

    Args:
      name: the name that is not known.
      known: the names that are.
      listing: the flag or command that lists all known names, for a message that has no room for them.
      quote: writes a suggested name, such as a flag with its dashes.
    """
    known = sorted(known)
    by_letters: dict[str, list[str]] = {}  # {name without case and separators: names}
    for each in known:
        by_letters.setdefault(_letters(each), []).append(each)
    similar = difflib.get_close_matches(_letters(name), by_letters, n=3, cutoff=0.6)
    if similar:
        names = [each for letters in similar for each in by_letters[letters]]
        return f"; did you mean {' or '.join(map(quote, names[:3]))}?"
    if len(known) > _LISTED:
        rest = f", and {len(known) - _LISTED} more" + (f" ({listing} lists them)" if listing else "")
        return f"; known: {', '.join(known[:_LISTED])}{rest}"
    return f"; known: {', '.join(known)}" if known else "; none is registered"


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
