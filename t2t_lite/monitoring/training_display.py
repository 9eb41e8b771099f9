"""What a training run shows: a live table on a terminal, a line now and then in a log."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

_SMOOTHING = 0.9  # of the shown loss and accuracy: about the last ten steps of a problem


@dataclass
class _Row:
    """One problem so far; loss and accuracy are running means."""

    steps: int = 0
    tokens: float = 0.0  # of all steps but the first
    loss: float | None = None
    accuracy: float | None = None


class TrainingDisplay:
    """Shows how training goes.

        with TrainingDisplay(1000, 0, ["image_shapes", "reverse"]) as progress:
            progress.update(1, "reverse", {"loss": 2.0, "accuracy": 0.1, "tokens": 512})

    Args:
      total_steps: the step at which training ends.
      start_step: the step it goes on from: 0 for a new run.
      problem_names: the rows, in order.
      every: seconds between lines in a log.
      file: where to; standard error unless given.
      clock: seconds since some moment, for tests.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int,
        problem_names: Sequence[str],
        every: float = 10.0,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total = total_steps
        self._step = start_step
        self._timed_steps, self._timed_seconds = 0, 0.0  # rates leave out the first step of each problem
        self._between = 0.0  # seconds between steps: evaluations, checkpoints
        self._waited: float | None = None  # seconds of the timed ones in which the network waited for its input
        self._learning_rate: float | None = None
        self._skipped = 0
        self._rows = {name: _Row() for name in problem_names}
        self._every = every
        self._file = file or sys.stderr
        self._clock = clock
        self._last_step = self._last_line = clock()
        self._told = start_step  # the step of the last line
        self._live = None
        if self._file.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._file)
            self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=False)

    def __enter__(self) -> "TrainingDisplay":
        self._last_step = self._last_line = self._clock()
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        elif self._step > self._told:
            self._print_lines()

    def update(self, step: int, problem: str, figures: Mapping[str, float]) -> None:
        """Takes in one step.

        Args:
          step: the number of steps done.
          problem: which problem it trained.
          figures: all optional: "loss", "accuracy" (0 to 1), "tokens" (positions in the batch that count),
            "learning_rate", "input_seconds" (of waiting for the batch), "skipped" (1 where the step was not applied,
            because something in it was not finite).
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
            self._print_lines()

    def exclude_pause(self) -> None:
        """The time since the last step was none of a step: it counts for the time left, but not for the speed."""
        now = self._clock()
        self._between += now - self._last_step
        self._last_step = now

    def message(self, text: str) -> None:
        """Prints a line of text, above the table if there is one; in a log, below the figures of the steps so far."""
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            if self._step > self._told:
                self._print_lines()
            print(text, file=self._file, flush=True)

    def _summary(self) -> str:
        steps = f"step {self._step} of {self._total}"
        if not self._timed_seconds:
            return steps
        speed = self._timed_steps / self._timed_seconds
        left = (self._total - self._step) * (self._timed_seconds + self._between) / self._timed_steps
        return f"{steps}, {speed:.2f} steps/s, {_duration(left)} left"

    def _state(self) -> list[str]:
        """What holds for all problems, a phrase each."""
        phrases = []
        if self._learning_rate is not None:
            phrases.append(f"learning rate {self._learning_rate:.2e}")
        if self._waited is not None:
            phrases.append(f"{self._waited / max(self._timed_seconds, 1e-9):.0%} waiting for input")
        if self._skipped:
            phrases.append(f"{self._skipped} skipped (not finite)")
        return phrases

    def _speed(self, tokens: float) -> str:
        return f"{tokens / self._timed_seconds:.0f}" if self._timed_seconds else ""

    def _cells(self, name: str) -> list[str]:
        row = self._rows[name]
        loss = "" if row.loss is None else f"{row.loss:.3f}"
        accuracy = "" if row.accuracy is None else f"{row.accuracy:.1%}"
        return [str(row.steps), loss, accuracy, self._speed(row.tokens)]

    def _print_lines(self) -> None:
        self._last_line, self._told = self._clock(), self._step
        parts = [self._summary()]
        for name in self._rows:
            steps, loss, accuracy, _ = self._cells(name)
            if steps != "0":
                parts.append(f"{name}: loss {loss or '-'} accuracy {accuracy or '-'}")
        if speed := self._speed(sum(row.tokens for row in self._rows.values())):
            parts[0] += f", {speed} tokens/s"
        parts[0] = ", ".join([parts[0], *self._state()])
        print("; ".join(parts), file=self._file, flush=True)

    def _table(self) -> "RenderableType":
        from rich.table import Table

        table = Table(title=self._summary(), caption=", ".join(self._state()) or None)
        table.add_column("problem")
        for heading in ("steps", "loss", "accuracy", "tokens/s"):
            table.add_column(heading, justify="right")
        for name in self._rows:
            table.add_row(name, *self._cells(name))
        return table


def _smooth(old: float | None, new: float | None) -> float | None:
    if new is None or not math.isfinite(new):
        return old
    return float(new) if old is None else _SMOOTHING * old + (1 - _SMOOTHING) * float(new)


def _duration(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
