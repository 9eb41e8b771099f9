"""A TensorFlow profile of some steps (`--profile_steps`), for TensorBoard's profiler."""

from pathlib import Path
from types import TracebackType

import tensorflow as tf

from t2t_lite.errors import UserError


class Profiler:
    """Profiles the steps from A to B, both included, counted as the display counts them: the first is 1.

        with Profiler(output_dir, (101, 110)) as profiler:
            for step in range(start, train_steps):
                profiler.begin(step + 1)
                ...

    Args:
      folder: the run's folder; the profile goes into plugins/profile/ in it.
      steps: (A, B); None for no profile.
      start_step: the number of steps done.
      train_steps: the step at which training ends.

    Raises:
      UserError: the run does not train these steps. Those that it trained before it was stopped are passed over.
    """

    def __init__(self, folder: Path, steps: tuple[int, int] | None, start_step: int, train_steps: int):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._running = False
        if steps and not 1 <= self._first <= self._last <= train_steps:
            given = f"--profile_steps={self._first},{self._last}"
            raise UserError(f"{given}: expected A,B with A <= B among the steps 1 to {train_steps}")

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()

    def begin(self, step: int) -> None:
        """To be called before each step with its number, from 1; starts and ends the profile."""
        if step == self._first:  # never of a run that goes on after it
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        elif step == self._last + 1:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            tf.profiler.experimental.stop()
