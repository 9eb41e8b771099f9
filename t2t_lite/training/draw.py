"""Which problem each step trains: a draw that depends on (seed, step) alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from t2t_lite import registry

if TYPE_CHECKING:
    from t2t_lite.data.reading import Dataset


def mixture_rates(names: Sequence[str]) -> dict[str, float]:
    """The share of steps of each problem: {problem: rate}, summing to 1.

    Args:
      names: problems and mixtures as the user named them. A mixture's share is that of as many problems as it has, and
        is divided among them by their rates; a problem that is named alone and in a mixture gets both shares.
    """
    rates: dict[str, float] = {}

    def add(name: str, share: float) -> None:
        if name not in registry.mixtures:
            rates[name] = rates.get(name, 0.0) + share
            return
        parts = registry.mixtures.get(name).rates
        for part, rate in parts.items():
            add(part, share * rate / sum(parts.values()))

    weights = {name: _size(name) for name in names}
    for name, weight in weights.items():
        add(name, weight / sum(weights.values()))
    return rates


def describe_mixture(rates: Mapping[str, float], datasets: Mapping[str, "Dataset"]) -> str:
    """A line a problem: examples and the share of steps."""
    width = max(map(len, rates))
    lines = [
        f"{name:{width}}  {datasets[name].split('train').examples:>9,} examples  {rate:6.1%} of steps"
        for name, rate in rates.items()
    ]
    return "\n".join(lines)


def _size(name: str) -> int:
    """How many problems a name stands for, so that `--problem=mixture,p` gives p its fair share."""
    return sum(map(_size, registry.mixtures.get(name).rates)) if name in registry.mixtures else 1


class ProblemDraw:
    """Draws the problem of each step.

    Args:
      rates: {problem: rate}, summing to 1.
      seed: the run's seed.
    """

    def __init__(self, rates: Mapping[str, float], seed: int):
        self.names = list(rates)
        self._edges = np.cumsum([rates[name] for name in self.names])
        self._seed = seed

    def __call__(self, step: int) -> str:
        """The problem that step `step` trains."""
        uniform = np.random.default_rng([self._seed, step]).random() * self._edges[-1]
        return self.names[int(np.searchsorted(self._edges, uniform, side="right"))]

    def counts(self, steps: int) -> dict[str, int]:
        """How often each problem is drawn in the first `steps` steps: how many of its batches are used up."""
        counts = dict.fromkeys(self.names, 0)
        for step in range(steps):
            counts[self(step)] += 1
        return counts
