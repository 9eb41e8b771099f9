"""A mixture: several problems that are trained together, and how often each is drawn."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mixture:
    """Problems (or mixtures) by name, each with the rate at which training draws it.

    registry.mixtures.register(Mixture({"image_mnist": 1, "speech_commands": 2}, "Two small ones."), name="small_two")
    """

    rates: dict[str, float]
    __doc__: str
