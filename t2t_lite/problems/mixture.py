"""Mixtures: problems that are trained together, with sampling rates."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Mixture:
    """Problems (or mixtures) by name, each with the rate at which training samples it.

    registry.mixtures.register(Mixture({"image_mnist": 1, "speech_commands": 2}, "Two small ones."), name="small_two")
    """

    rates: dict[str, float]
    __doc__: str

    def __post_init__(self) -> None:
        if not self.rates:
            raise ValueError("a mixture needs at least one problem")
        for name, rate in self.rates.items():
            if not 0 < rate < math.inf:
                raise ValueError(f"the rate of '{name}' is {rate}; it must be a number above 0")
