"""Counts of a split's examples and of their lengths, which add up whatever the order they are made in."""

from dataclasses import dataclass, field
from typing import Any

from t2t_lite.data import lengths
from t2t_lite.problems.features import Feature


@dataclass
class SplitStats:
    """What is counted of stored examples. Lengths are tokens without the end token, samples, or 1.

    Attributes:
      examples: how many.
      bytes: what their records take.
      too_long: how many have a side that exceeds its feature's maximum.
      positions: {positions of the longer side: examples}, of those where both sides fit.
      longest: {"inputs", "targets": the greatest length}.
      total: {"inputs", "targets": the sum of all lengths}.
    """

    examples: int = 0
    bytes: int = 0
    too_long: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def count(self, features: dict[str, Feature], sizes: dict[str, int], record_bytes: int) -> None:
        """Adds one example, given what its sides are and how long, and what its record takes."""
        self.examples += 1
        self.bytes += record_bytes
        fits, longer = True, 0
        for key, size in sizes.items():
            feature = features[key]
            self.longest[key] = max(self.longest.get(key, 0), size)
            self.total[key] = self.total.get(key, 0) + size
            fits = fits and size <= lengths.max_length(feature)
            longer = max(longer, lengths.positions(feature, size))
        if fits:
            self.positions[longer] = self.positions.get(longer, 0) + 1
        else:
            self.too_long += 1

    def add(self, other: "SplitStats") -> None:
        """Adds what another one counted."""
        self.examples += other.examples
        self.bytes += other.bytes
        self.too_long += other.too_long
        for key, size in other.longest.items():
            self.longest[key] = max(self.longest.get(key, 0), size)
            self.total[key] = self.total.get(key, 0) + other.total[key]
        for length, number in other.positions.items():
            self.positions[length] = self.positions.get(length, 0) + number

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "SplitStats":
        """The inverse of `dataclasses.asdict`, JSON in between."""
        positions = {int(length): number for length, number in stored["positions"].items()}
        return cls(**{**stored, "positions": positions})
