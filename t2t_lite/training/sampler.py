"""Which problem each step trains: a draw from (seed, step), and with the adaptive mixture from the losses so far."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams


def make_sampler(hparams: HParams, rates: Mapping[str, float]) -> "ProblemSampler":
    """The draw that `hparams.mixture` asks for.

    Args:
      hparams: mixture and seed are read.
      rates: {problem: rate}, summing to 1.
    """
    return (AdaptiveSampler if hparams.mixture == "adaptive" else ProblemSampler)(rates, hparams.seed)


class ProblemSampler:
    """Draws the problem of each step by given rates.

    Args:
      rates: {problem: rate}, summing to 1.
      seed: the run's seed.

    Attributes:
      rates: the rates that the next step is drawn by.
    """

    def __init__(self, rates: Mapping[str, float], seed: int):
        self.names = list(rates)
        self._seed = seed
        self._set_rates(rates)

    def __call__(self, step: int) -> str:
        """The problem that step `step` (from 0) trains."""
        uniform = np.random.default_rng([self._seed, step]).random() * self._edges[-1]
        return self.names[int(np.searchsorted(self._edges, uniform, side="right"))]

    def update(self, problem: str, loss: float) -> None:
        """Takes in the loss of the step that was last drawn; nothing follows from it here."""

    def counts(self, steps: int) -> dict[str, int]:
        """How often each problem is drawn in the first `steps` steps: how many of its batches are used up."""
        counts = dict.fromkeys(self.names, 0)
        for step in range(steps):
            counts[self(step)] += 1
        return counts

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the step, JSON-able; numbers survive JSON exactly."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""

    def _set_rates(self, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)
        self._edges = np.cumsum([self.rates[name] for name in self.names])


class AdaptiveSampler(ProblemSampler):
    """Draws the problems by their moving losses: the worse one stands, the more it is trained.

        rate of p = given rate of p * exp(m(p)) / sum over problems of the same
        m(p) = 0.9 m(p) + 0.1 loss, after each step on p; 100 at the start

    The loss is in nats a target, so a problem that stands one nat worse is drawn e times as often. The start of 100
    takes the problems in turn until the moving loss of each has come down to its real one, after about 50 steps of
    each. It is what tensor2tensor of the paper's time did (`problem_choice="adaptive"`), the given rates apart: they
    are equal for problems that are named alone.

    The draws depend on seed, step and the losses so far: kept in `state`.
    """

    def __init__(self, rates: Mapping[str, float], seed: int):
        super().__init__(rates, seed)
        self._given = dict(rates)
        self._losses = dict.fromkeys(rates, 100.0)
        self._counts = dict.fromkeys(rates, 0)

    def update(self, problem: str, loss: float) -> None:
        """Takes in the loss of the step that was last drawn; one that is not finite counts, but moves nothing."""
        self._counts[problem] += 1
        if math.isfinite(loss):
            self._losses[problem] = 0.9 * self._losses[problem] + 0.1 * loss
        self._weigh()

    def counts(self, steps: int) -> dict[str, int]:
        """How often each problem was drawn.

        Raises:
          UserError: the draws so far are not those of `steps` steps, because a checkpoint did not keep them.
        """
        if sum(self._counts.values()) != steps:
            raise UserError(
                f"mixture=adaptive: the checkpoint of step {steps} does not hold the moving losses; "
                "start anew in another --output_dir"
            )
        return dict(self._counts)

    def state(self) -> dict[str, Any]:
        """The moving losses and how often each problem was drawn."""
        return {"losses": dict(self._losses), "counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        self._losses |= state.get("losses", {})
        self._counts |= state.get("counts", {})
        self._weigh()

    def _weigh(self) -> None:
        most = max(self._losses.values())
        weights = {name: rate * math.exp(self._losses[name] - most) for name, rate in self._given.items()}
        self._set_rates({name: weight / sum(weights.values()) for name, weight in weights.items()})
