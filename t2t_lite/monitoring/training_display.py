"""Training progress on standard error: a live table on a terminal, short lines in a log."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

_SMOOTHING = 0.9  # of the running means of loss and accuracy: over about the last ten steps of a problem
_MAX_LINE = 120  # characters of a line in a log
_MAX_NAME = 60  # characters of a problem's name in a log's table
_HEADINGS = ("problem", "steps", "loss", "accuracy", "tokens/s")


@dataclass
class _Row:
    """The progress of one problem; loss and accuracy are running means."""

    steps: int = 0
    tokens: float = 0.0  # of all steps but the first
    loss: float | None = None
    accuracy: float | None = None


class TrainingDisplay:
    """Shows the progress of training.

        with TrainingDisplay(1000, 0, ["image_shapes", "reverse"]) as display:
            display.update(1, "reverse", {"loss": 2.0, "accuracy": 0.1, "tokens": 512})

    On a terminal this is a live table with a row for each problem. In a log it is a line of at most 120 characters now
    and then, and the table as text with each evaluation and every few minutes.

    Args:
      total_steps: the step at which training ends.
      start_step: the number of steps done: 0 for a new run.
      problem_names: the rows, in order.
      every: seconds between lines in a log.
      table_every: seconds between tables in a log.
      file: the output; standard error by default.
      clock: returns seconds, for tests.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int,
        problem_names: Sequence[str],
        every: float = 10.0,
        table_every: float = 300.0,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total = total_steps
        self._step = start_step
        self._timed_steps, self._timed_seconds = 0, 0.0  # without the first step of each problem
        self._paused = 0.0  # seconds of evaluations and checkpoints
        self._waited: float | None = None  # seconds of the timed steps spent waiting for input
        self._learning_rate: float | None = None
        self._skipped = 0
        self._rows = {name: _Row() for name in problem_names}
        self._every, self._table_every = every, table_every
        self._file = file or sys.stderr
        self._clock = clock
        self._last_step = self._last_line = self._last_table = clock()
        self._printed_step = start_step  # the step of the last line
        self._live = None
        if self._file.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._file)
            self._live = Live(console=console, get_renderable=self.table, refresh_per_second=2, transient=False)

    def __enter__(self) -> "TrainingDisplay":
        self._last_step = self._last_line = self._last_table = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        else:
            self._print_progress()

    def update(self, step: int, problem: str, figures: Mapping[str, float]) -> None:
        """Records a step.

        Args:
          step: the number of steps done.
          problem: the problem that it trained.
          figures: all optional: "loss", "accuracy" (0 to 1), "tokens" (targets in the batch), "learning_rate",
            "input_seconds" (spent waiting for the batch), "skipped" (1 if the step was skipped because its loss or
            gradient was not finite).
        """
        row = self._rows[problem]
        row.steps += 1
        now = self._clock()
        if row.steps > 1:  # the first one builds the problem's graph, which takes as long as many steps
            self._timed_steps += 1
            self._timed_seconds += now - self._last_step
            row.tokens += float(figures.get("tokens", 0))
            if "input_seconds" in figures:
                self._waited = (self._waited or 0.0) + figures["input_seconds"]
        self._last_step = now
        self._learning_rate = figures.get("learning_rate", self._learning_rate)
        self._skipped += int(figures.get("skipped", 0))
        row.loss = _smooth(row.loss, figures.get("loss"))
        row.accuracy = _smooth(row.accuracy, figures.get("accuracy"))
        self._step = step
        if not self._live and now - self._last_line >= self._every:
            self._print_progress()
            if now - self._last_table >= self._table_every:
                self.print_table()

    def exclude_pause(self) -> None:
        """Excludes the time since the last step from the speed; the estimated time left still includes it."""
        now = self._clock()
        self._paused += now - self._last_step
        self._last_step = now

    def message(self, text: str) -> None:
        """Prints a message: above the table on a terminal, after a line of progress in a log."""
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            self._print_progress()
            print(text, file=self._file, flush=True)

    def print_table(self) -> None:
        """Prints the table in a log; does nothing on a terminal, which shows it all the time."""
        if self._live:
            return
        self._last_table = self._clock()
        self._print_progress()
        trained = [name for name, row in self._rows.items() if row.steps]
        if not trained:
            return
        lines = [list(_HEADINGS)]
        lines += [[_shorten(name, _MAX_NAME), *self._cells(name)] for name in trained]
        rate = "" if self._learning_rate is None else f"\nlearning rate {self._learning_rate:.2e}"
        print(format_table(lines) + rate, file=self._file, flush=True)

    def _print_progress(self) -> None:
        """Prints the line of progress in a log, unless it was printed for this step already."""
        if self._step > self._printed_step:
            self._last_line, self._printed_step = self._clock(), self._step
            print(self._progress_line(), file=self._file, flush=True)

    def _progress_line(self) -> str:
        phrases = self._speed_phrases()
        losses = [row.loss for row in self._rows.values() if row.loss is not None]
        if losses:
            phrases.append(f"mean loss {_number(sum(losses) / len(losses), 3)}")
        if self._timed_seconds:
            tokens = sum(row.tokens for row in self._rows.values())
            phrases.append(f"{_number(tokens / self._timed_seconds, 0)} tokens/s")
        phrases += self._input_phrases()
        # With extreme numbers: leaves out waiting, tokens/s, mean loss, and so on, but not the number of skipped steps.
        last = -2 if self._skipped else -1
        while len(", ".join(phrases)) > _MAX_LINE and len(phrases) + last > 0:
            del phrases[last]
        return ", ".join(phrases)[:_MAX_LINE]

    def _speed_phrases(self) -> list[str]:
        phrases = [f"step {self._step} of {self._total}"]
        if self._timed_seconds:
            phrases.append(f"{_number(self._timed_steps / self._timed_seconds, 2)} steps/s")
            left = (self._total - self._step) * (self._timed_seconds + self._paused) / self._timed_steps
            phrases.append(f"{_duration(left)} left")
        return phrases

    def _input_phrases(self) -> list[str]:
        phrases = []
        if self._waited is not None:
            phrases.append(f"{min(self._waited / max(self._timed_seconds, 1e-9), 1.0):.0%} waiting for input")
        if self._skipped:
            phrases.append(f"{self._skipped} skipped (not finite)")
        return phrases

    def _cells(self, name: str) -> list[str]:
        row = self._rows[name]
        loss = "" if row.loss is None else _number(row.loss, 3)
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.1%}"
        speed = _number(row.tokens / self._timed_seconds, 0) if self._timed_seconds else ""
        return [str(row.steps), loss, accuracy, speed]

    def table(self) -> "RenderableType":
        """Returns the table that is shown on a terminal."""
        from rich.table import Table

        caption = [] if self._learning_rate is None else [f"learning rate {self._learning_rate:.2e}"]
        caption += self._input_phrases()
        table = Table(title=", ".join(self._speed_phrases()), caption=", ".join(caption) or None)
        table.add_column(_HEADINGS[0])
        for heading in _HEADINGS[1:]:
            table.add_column(heading, justify="right")
        for name in self._rows:
            table.add_row(name, *self._cells(name))
        return table


def format_table(lines: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells as text in columns, the first left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([f"{first:{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(others, widths[1:], strict=True))]).rstrip()
        for first, *others in lines
    )


def _smooth(old: float | None, new: float | None) -> float | None:
    if new is None or not math.isfinite(new):
        return old
    return float(new) if old is None else _SMOOTHING * old + (1 - _SMOOTHING) * float(new)


def _number(value: float, decimals: int) -> str:
    """Returns `12.34`, or `1.23e+12` for a number of more than six digits."""
    return f"{value:.{decimals}f}" if abs(value) < 1e6 else f"{value:.2e}"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _duration(seconds: float) -> str:
    """Returns `2:03`, `1:02:03` or `4 days 1:02:03`."""
    days, rest = divmod(round(seconds), 86400)
    if days >= 1000:
        return "over 1000 days"
    minutes, second = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{second:02}" if hours or days else f"{minutes}:{second:02}"
    return f"{days} day{'s' * (days > 1)} {clock}" if days else clock
