"""Telling the user how long work is getting on: a live counter on a terminal, one line at the end everywhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


def print_status(line: str) -> None:
    """Prints one line on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_counter(label: str, unit: str = "examples") -> Iterator[Callable[[int], None]]:
    """Gives a function that adds to a count; on leaving, unless by an error, says `LABEL: 1,234 examples, 567/s`."""
    count, start = 0, time.monotonic()

    def text() -> str:
        return f"{label}: {count:,} {unit}, {count / max(time.monotonic() - start, 1e-9):,.0f}/s"

    with contextlib.ExitStack() as stack:
        update: Callable[[str], object] | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            update = stack.enter_context(Console(stderr=True).status(label)).update

        def add(n: int) -> None:
            nonlocal count
            count += n
            if update is not None:
                update(text())

        yield add
    print_status(text())


def format_bytes(size: int) -> str:
    """`1.5 GB`, `20 MB` or `3 kB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"
