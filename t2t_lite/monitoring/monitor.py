"""All that a training run shows and keeps of its figures: the display, the JSON lines, TensorBoard."""

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

Figures = Mapping[str, Any]  # names to floats; expert_load to {layer: one number an expert}


class Monitor:
    """Passes the figures of each step and evaluation on to the display, the JSON lines and TensorBoard.

        with Monitor(output_dir, start, train_steps, datasets) as monitor:
            with monitor.waiting():
                batch = next(batches)
            monitor.step(1, "reverse", batch, train_step(...))

    Args:
      folder: the run's folder.
      start_step: the number of steps done.
      train_steps: the step at which training ends.
      datasets: the problems, in the order of the rows.
      evaluated_step: the last step whose evaluation is not to come again; start_step unless given.
      shown: whether to show anything; of several workers one does.

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
        self._loads: dict[str, np.ndarray] = {}  # what each expert got since the last evaluation
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
        """Shows a line of text."""
        self._display.message(text)

    @contextlib.contextmanager
    def input_wait(self) -> Iterator[None]:
        """Reading a batch belongs inside: its time counts as waiting for input."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def step(self, step: int, problem: str, batch: Mapping[str, tf.Tensor], figures: Figures) -> None:
        """Takes in one step of training.

        Args:
          step: the number of steps done.
          problem: which problem it trained.
          batch: what it trained on, as data/reading.py gives it.
          figures: what the step tells. "expert_load" is {layer: the positions that each expert served}.
        """
        now = time.monotonic()
        taken, waited = max(now - self._last, 1e-9), self._waited
        self._last, self._waited = now, 0.0
        told = dict(figures) | {"step_seconds": taken, "input_seconds": waited}
        if "tokens" in told:
            told["tokens_per_second"] = told["tokens"] / taken
        told |= padding(self._datasets[problem], batch)
        for layer, load in told.pop("expert_load", {}).items():
            key = f"{problem}/expert_load/{layer}"
            self._loads[key] = self._loads.get(key, 0.0) + np.asarray(load, np.float64)
            told |= _load_figures(layer, np.asarray(load, np.float64))
        self._display.update(step, problem, told)
        self._scalars.add(step, "train", problem, told)

    def evaluation(self, step: int, scores: Mapping[str, Figures], samples: Sequence[Any] = ()) -> None:
        """Takes in an evaluation.

        Args:
          step: the number of steps done.
          scores: {problem: {figure: value}}.
          samples: values for TensorBoard (monitoring/sample_outputs.py).
        """
        for name, row in scores.items():
            self._scalars.add(step, "dev", name, row)
        bars = [scalar_writer.histogram_value(f"train/{key}", load.tolist()) for key, load in self._loads.items()]
        self._loads.clear()
        self._scalars.add_values(step, [*bars, *samples])
        self.message(format_report({"step": step, "problems": scores}))
        self._display.exclude_pause()  # the next step is not to be blamed for the evaluation's time
        self._last = time.monotonic()

    def flush(self) -> None:
        """Writes down all that was taken in; called before a checkpoint, so that no step before it is missing."""
        self._scalars.flush()


def padding(dataset: Dataset, batch: Mapping[str, tf.Tensor]) -> dict[str, float]:
    """The shares of a batch that are padding: "inputs_padding" and "targets_padding", for texts and sounds."""
    shares: dict[str, float] = {}
    for key, feature in (("inputs", dataset.problem.inputs), ("targets", dataset.problem.targets)):
        if isinstance(feature, Text):
            ids = np.asarray(batch[key])
            shares[f"{key}_padding"] = 1.0 - np.count_nonzero(ids) / ids.size
        elif isinstance(feature, Audio):
            lengths = np.asarray(batch[f"{key}_length"], np.int64)
            shares[f"{key}_padding"] = 1.0 - float(lengths.sum()) / (len(lengths) * batch[key].shape[1])
    return shares


def _load_figures(layer: str, load: np.ndarray) -> dict[str, float]:
    """How evenly a layer's experts are used: least and largest share of the positions, coefficient of variation."""
    share = load / max(load.sum(), 1e-9)
    where = f"expert_load/{layer}"
    variation = float(share.std() / max(share.mean(), 1e-9))
    return {f"{where}/least": float(share.min()), f"{where}/most": float(share.max()), f"{where}/variation": variation}
