"""Best-checkpoint tracking and early stopping."""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from t2t_lite.errors import UserError, did_you_mean

_LOWER_IS_BETTER = ("loss", "log_perplexity")
_HIGHER_IS_BETTER = ("accuracy", "accuracy_per_sequence", "accuracy_top5")
_METRICS = (*_LOWER_IS_BETTER, *_HIGHER_IS_BETTER)  # teacher-forced: every evaluation during training has them


class Metric(NamedTuple):
    """A metric of one problem, or its mean over all problems."""

    name: str
    problem: str | None = None

    @classmethod
    def parse(cls, flag: str, text: str, problems: Collection[str]) -> "Metric":
        """Reads `PROBLEM:METRIC` or `METRIC`.

        Raises:
          UserError: the problem or the metric is unknown; the nearest is suggested.
        """
        problem, colon, name = text.rpartition(":")
        if colon and problem not in problems:
            raise UserError(f"--{flag}: no problem '{problem}' in this run{did_you_mean(problem, problems)}")
        if name not in _METRICS:
            raise UserError(f"--{flag}: unknown metric '{name}'{did_you_mean(name, _METRICS)}")
        return cls(name, problem or None)

    def __str__(self) -> str:
        return f"{self.problem}:{self.name}" if self.problem else self.name

    def of(self, scores: Mapping[str, Mapping[str, float]]) -> float:
        """Returns its value in the scores {problem: {metric: value}}."""
        if self.problem:
            return scores[self.problem][self.name]
        return sum(row[self.name] for row in scores.values()) / len(scores)

    def is_better(self, value: float, than: float | None) -> bool:
        """Returns whether a value is better than the best before it; never true of a value that is not finite."""
        if not math.isfinite(value):
            return False
        if than is None:
            return True
        return value < than if self.name in _LOWER_IS_BETTER else value > than


class _Best:
    """The best value of a metric so far."""

    def __init__(self, metric: Metric, problems: Collection[str]):
        self.metric = metric
        self._problems = metric.problem or ", ".join(sorted(problems))
        self.step: int | None = None
        self.value: float | None = None
        self.worse = 0  # evaluations since the best one

    def update(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> bool:
        """Records an evaluation; returns whether it is the best so far."""
        value = self.metric.of(scores)
        if self.metric.is_better(value, self.value):
            self.step, self.value, self.worse = step, value, 0
            return True
        self.worse += 1
        return False

    def state(self) -> dict[str, Any]:
        best = {"step": self.step, "value": self.value, "worse": self.worse}
        return {"metric": str(self.metric), "of": self._problems, **best}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned, unless it is of another metric, or of the mean over other problems."""
        if (state.get("metric"), state.get("of")) == (str(self.metric), self._problems):
            self.step, self.value, self.worse = state["step"], state["value"], state["worse"]


class EvaluationTracker:
    """Tracks the best evaluation of a run, and decides on early stopping.

    Args:
      problems: the problems evaluated.
      keep_best: the metric of the best checkpoint, as `PROBLEM:METRIC`, or `METRIC` for the mean over problems.
      early_stop_metric: the metric of early stopping, in the same form; "" for no early stopping.
      early_stop_patience: the number of evaluations without improvement after which training stops.

    Raises:
      UserError: a metric or its problem is unknown.
    """

    def __init__(
        self,
        problems: Collection[str],
        keep_best: str = "loss",
        early_stop_metric: str = "",
        early_stop_patience: int = 1,
    ):
        self.evaluated_step = 0  # the step of the last evaluation
        self._best = _Best(Metric.parse("keep_best", keep_best, problems), problems)
        stop = Metric.parse("early_stop_metric", early_stop_metric, problems) if early_stop_metric else None
        self._stop = _Best(stop, problems) if stop else None
        self._patience = early_stop_patience

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation so far."""
        return self._best.step

    def update(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> bool:
        """Records the scores {problem: {metric: value}} of a step; returns whether they are the best so far."""
        self.evaluated_step = step
        if self._stop:
            self._stop.update(step, scores)
        return self._best.update(step, scores)

    def stop_reason(self) -> str | None:
        """Returns the message of early stopping if training should stop, else None."""
        if self._stop is None or self._stop.worse < self._patience:
            return None
        best = (
            f"its best was {self._stop.value:.4g} at step {self._stop.step}"
            if self._stop.step
            else "it was never finite"
        )
        return (
            f"stopped early at step {self.evaluated_step}: {self._stop.metric} has not improved for {self._stop.worse} "
            f"evaluations; {best}"
        )

    def state(self) -> dict[str, Any]:
        """Returns the JSON-serializable state that a checkpoint keeps."""
        stop = {"stop": self._stop.state()} if self._stop else {}
        return {"evaluated": self.evaluated_step, "best": self._best.state(), **stop}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned; {} for a new run."""
        self.evaluated_step = state.get("evaluated", 0)
        self._best.restore(state.get("best", {}))
        if self._stop:
            self._stop.restore(state.get("stop", {}))
