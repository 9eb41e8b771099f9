"""A TensorFlow profile of some steps (`--profile_steps`), for TensorBoard's profiler."""

import contextlib
from pathlib import Path
from types import TracebackType

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.literal_path import literal_path


class Profiler:
    """Profiles the steps A to B, both included, numbered from 1 as the display numbers them.

        with Profiler(output_dir, (101, 110)) as profiler:
            for step in range(start, train_steps):
                profiler.begin(step + 1)
                ...

    Args:
      folder: the run's folder; the profile is written into its subfolder plugins/profile/.
      steps: (A, B); None for no profile.
      start_step: the number of steps done.
      train_steps: the step at which training ends.

    Raises:
      UserError: the run ends before step B. Steps done before a resumption are ignored.
    """

    def __init__(self, folder: Path, steps: tuple[int, int] | None, start_step: int, train_steps: int):
        self._folder = folder
        self._first, self._last = steps or (0, 0)
        self._running = contextlib.ExitStack()
        if steps and not 1 <= self._first <= self._last <= train_steps:
            flag = f"--profile_steps={self._first},{self._last}"
            raise UserError(f"{flag}: expected A,B with A <= B among the steps 1 to {train_steps}")

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._running.close()

    def begin(self, step: int) -> None:
        """Starts or ends the profile; called before each step with its number, from 1."""
        if step == self._first:  # a run that resumes after this step makes no profile
            folder = self._running.enter_context(literal_path(self._folder))
            tf.profiler.experimental.start(str(folder))
            self._running.callback(tf.profiler.experimental.stop)
        elif step == self._last + 1:
            self._running.close()
