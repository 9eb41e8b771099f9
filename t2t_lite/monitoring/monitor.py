"""Passes the figures of training steps and evaluations on to the display, scalars.jsonl and TensorBoard."""

import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.evaluation.report import format_report
from t2t_lite.monitoring import scalar_writer
from t2t_lite.monitoring.training_display import TrainingDisplay
from t2t_lite.problems.features import Audio, Text

Figures = Mapping[str, Any]  # {name: float}; "expert_load": {layer: a number for each expert}


class Monitor:
    """Shows and records the figures of each step and evaluation.

        with Monitor(output_dir, start, train_steps, datasets) as monitor:
            with monitor.input_wait():
                batch = next(batches)
            monitor.step(1, "reverse", batch, train_step(...))

    Args:
      folder: the run's folder.
      start_step: the number of steps done.
      train_steps: the step at which training ends.
      datasets: the problems, in the order of the rows.
      evaluated_step: the last step whose evaluation will not be repeated; start_step by default.
      shown: whether to show progress; only the chief of several workers does.

    Raises:
      UserError: the disk is full; from any method.
    """

    def __init__(
        self,
        folder: Path,
        start_step: int,
        train_steps: int,
        datasets: Mapping[str, Dataset],
        evaluated_step: int | None = None,
        shown: bool = True,
    ):
        self._datasets = datasets
        file = None if shown else io.StringIO()
        self._display = TrainingDisplay(train_steps, start_step, list(datasets), file=file)
        self._scalars = scalar_writer.ScalarWriter(folder, start_step, evaluated_step)
        self._loads: dict[str, np.ndarray] = {}  # positions that each expert served since the last evaluation
        self._waited = 0.0
        self._last = time.monotonic()

    def __enter__(self) -> "Monitor":
        self._display.__enter__()
        self._last = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._display.__exit__(kind, e, tb)
        self._scalars.__exit__(kind, e, tb)

    def message(self, text: str) -> None:
        """Shows a message."""
        self._display.message(text)

    @contextlib.contextmanager
    def input_wait(self) -> Iterator[None]:
        """Counts the time inside the block as waiting for input."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def step(self, step: int, problem: str, batch: Mapping[str, tf.Tensor], figures: Figures) -> None:
        """Shows and records a training step.

        Args:
          step: the number of steps done.
          problem: the problem that it trained.
          batch: the batch that it trained on, as data/reading.py yields it.
          figures: the figures of the step. "expert_load" is {layer: the positions that each expert served}.
        """
        now = time.monotonic()
        seconds, waited = max(now - self._last, 1e-9), self._waited
        self._last, self._waited = now, 0.0
        scalars = dict(figures) | {"step_seconds": seconds, "input_seconds": waited}
        if "tokens" in scalars:
            scalars["tokens_per_second"] = scalars["tokens"] / seconds
        scalars |= padding(self._datasets[problem], batch)
        for layer, load in scalars.pop("expert_load", {}).items():
            key = f"{problem}/expert_load/{layer}"
            self._loads[key] = self._loads.get(key, 0.0) + np.asarray(load, np.float64)
            scalars |= _load_figures(layer, np.asarray(load, np.float64))
        self._display.update(step, problem, scalars)
        self._scalars.add(step, "train", problem, scalars)

    def evaluation(self, step: int, scores: Mapping[str, Figures], samples: Sequence[Any] = ()) -> None:
        """Shows and records an evaluation.

        Args:
          step: the number of steps done.
          scores: {problem: {metric: value}}.
          samples: values for TensorBoard (monitoring/sample_outputs.py).
        """
        for name, row in scores.items():
            self._scalars.add(step, "dev", name, row)
        bars = [scalar_writer.histogram_value(f"train/{key}", load.tolist()) for key, load in self._loads.items()]
        self._loads.clear()
        self._scalars.add_values(step, [*bars, *samples])
        self._display.print_table()
        self.message(format_report({"step": step, "problems": scores}))
        self._display.exclude_pause()
        self._last = time.monotonic()

    def flush(self) -> None:
        """Writes all buffered scalars; called before a checkpoint, so that the files have every step before it."""
        self._scalars.flush()


def padding(dataset: Dataset, batch: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """Returns the fraction of padding in texts and sounds as {"inputs_padding": x, "targets_padding": y}."""
    fractions: dict[str, float] = {}
    for key, feature in dataset.problem.keyed_features.items():
        if isinstance(feature, Text):
            ids = np.asarray(batch[key])
            fractions[f"{key}_padding"] = 1.0 - np.count_nonzero(ids) / ids.size
        elif isinstance(feature, Audio):
            lengths = np.asarray(batch[f"{key}_length"], np.int64)
            fractions[f"{key}_padding"] = 1.0 - float(lengths.sum()) / (len(lengths) * batch[key].shape[1])
    return fractions


def _load_figures(layer: str, load: np.ndarray) -> dict[str, float]:
    """Returns the least and largest fraction of positions that an expert served, and the coefficient of variation."""
    fraction = load / max(load.sum(), 1e-9)
    key = f"expert_load/{layer}"
    variation = float(fraction.std() / max(fraction.mean(), 1e-9))
    return {f"{key}/least": float(fraction.min()), f"{key}/most": float(fraction.max()), f"{key}/variation": variation}
