"""Status lines on standard error: a live counter on a terminal, and one line when the work is done."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator


def print_status(line: str) -> None:
    """Prints one line on standard error."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_counter(label: str, unit: str = "examples") -> Iterator[Callable[[int], None]]:
    """Yields a function that adds to a count; prints `LABEL: 1,234 examples, 567/s` on exit, unless by an error."""
    count, start = 0, time.monotonic()

    def text() -> str:
        return f"{label}: {count:,} {unit}, {count / max(time.monotonic() - start, 1e-9):,.0f}/s"

    with contextlib.ExitStack() as stack:
        update: Callable[[str], object] | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            spinner = "dots" if sys.stderr.encoding.lower().startswith("utf") else "line"  # the dots are not ASCII
            update = stack.enter_context(Console(stderr=True).status(label, spinner=spinner)).update

        def add(n: int) -> None:
            nonlocal count
            count += n
            if update is not None:
                update(text())

        yield add
    print_status(text())


def format_seconds(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def format_bytes(size: int) -> str:
    """`1.5 GB`, `20 MB` or `3 kB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size / 1e3:.3g} kB"
