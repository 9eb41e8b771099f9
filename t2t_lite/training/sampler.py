"""Samplers that choose the problem of each step from (seed, step), the adaptive one also from the losses so far."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams


def make_sampler(hparams: HParams, rates: Mapping[str, float]) -> "ProblemSampler":
    """Returns the sampler for `hparams.mixture`.

    Args:
      hparams: mixture and seed are read.
      rates: {problem: rate}, summing to 1.
    """
    return (AdaptiveSampler if hparams.mixture == "adaptive" else ProblemSampler)(rates, hparams.seed)


class ProblemSampler:
    """Samples the problem of each step with fixed rates.

    Args:
      rates: {problem: rate}, summing to 1.
      seed: the run's seed.

    Attributes:
      rates: the rates from which the next step's problem is sampled.
    """

    def __init__(self, rates: Mapping[str, float], seed: int):
        self.names = list(rates)
        self._seed = seed
        self._counts = dict.fromkeys(rates, 0)  # steps trained on each problem
        self._set_rates(rates)

    def __call__(self, step: int) -> str:
        """Returns the problem of step `step` (from 0)."""
        uniform = _uniform(self._seed, step) * self._cumulative[-1]
        return self.names[int(np.searchsorted(self._cumulative, uniform, side="right"))]

    def update(self, problem: str, loss: float) -> None:
        """Counts the step just trained. Fixed rates ignore its loss."""
        self._counts[problem] += 1

    def counts(self, steps: int) -> dict[str, int]:
        """Returns how often each problem is sampled in the first `steps` steps: the batches that it has used.

        They are kept in checkpoints; for one of an earlier version, which has none, all steps are sampled again.
        """
        if sum(self._counts.values()) != steps:
            self._counts = dict.fromkeys(self.names, 0)
            for step in range(steps):
                self._counts[self(step)] += 1
        return dict(self._counts)

    def state(self) -> dict[str, Any]:
        """Returns the JSON-serializable state that a checkpoint keeps: how often each problem was sampled."""
        return {"counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned."""
        self._counts |= state.get("counts", {})

    def _set_rates(self, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)
        self._cumulative = np.cumsum([self.rates[name] for name in self.names])


@functools.lru_cache(maxsize=256)
def _uniform(seed: int, step: int) -> float:
    """The random number in [0, 1) of a step. Cached, because a step's problem is asked for some steps ahead too."""
    return float(np.random.default_rng([seed, step]).random())


class AdaptiveSampler(ProblemSampler):
    """Samples problems with a higher moving loss more often.

        rate of p = registered rate of p * exp(m(p)), divided by the sum of this over all problems
        m(p) = 0.9 m(p) + 0.1 loss, after each step on p; 100 at the start

    The loss is in nats per target, so a problem whose loss is one nat higher is sampled e times as often. The start
    value of 100 makes all problems take turns until their moving losses have come down to their real losses, after
    about 50 steps of each. tensor2tensor of the paper's time did the same (`problem_choice="adaptive"`), without the
    registered rates, which are equal for problems that are named alone.

    The choice depends on seed, step and the losses so far, which `state` keeps.
    """

    def __init__(self, rates: Mapping[str, float], seed: int):
        super().__init__(rates, seed)
        self._registered = dict(rates)
        self._losses = dict.fromkeys(rates, 100.0)

    def update(self, problem: str, loss: float) -> None:
        """Updates the moving loss with the loss of the step just trained, unless it is not finite (a skipped step)."""
        super().update(problem, loss)
        if math.isfinite(loss):
            self._losses[problem] = 0.9 * self._losses[problem] + 0.1 * loss
        self._update_rates()

    def counts(self, steps: int) -> dict[str, int]:
        """Returns how often each problem was sampled.

        Raises:
          UserError: the counts do not add up to `steps`, because the checkpoint has no state of this sampler.
        """
        if sum(self._counts.values()) != steps:
            raise UserError(
                f"mixture=adaptive: the checkpoint of step {steps} does not hold the moving losses; "
                "train a new run in another --output_dir"
            )
        return dict(self._counts)

    def state(self) -> dict[str, Any]:
        """Returns the moving losses and how often each problem was sampled; floats survive JSON exactly."""
        return {"losses": dict(self._losses), **super().state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned."""
        super().restore(state)
        self._losses |= state.get("losses", {})
        self._update_rates()

    def _update_rates(self) -> None:
        highest = max(self._losses.values())
        weights = {name: rate * math.exp(self._losses[name] - highest) for name, rate in self._registered.items()}
        self._set_rates({name: weight / sum(weights.values()) for name, weight in weights.items()})
