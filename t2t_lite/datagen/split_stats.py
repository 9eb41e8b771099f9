"""Statistics of a split: counts of examples and of their lengths, which workers compute in parts and merge."""

from dataclasses import dataclass, field
from typing import Any

from t2t_lite.data import lengths
from t2t_lite.problems.problem import Problem


@dataclass
class SplitStats:
    """Statistics of stored examples. A length is tokens without the end token, samples, or 1.

    Attributes:
      examples: the number of examples.
      bytes: the size of their records.
      too_long: the number of examples whose inputs or targets exceed the feature's maximum.
      positions: {positions of the longer side: number of examples}, of examples that are not too long.
      longest: {"inputs", "targets": the greatest length}; for several inputs {"inputs_0", ...}, likewise below.
      total: {"inputs", "targets": the sum of all lengths}.
    """

    examples: int = 0
    bytes: int = 0
    too_long: int = 0
    positions: dict[int, int] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def add_example(self, problem: Problem, sizes: dict[str, int], record_bytes: int) -> None:
        """Counts one example.

        Args:
          problem: the problem.
          sizes: {"inputs", "targets": the length}, for several inputs {"inputs_0", ...}.
          record_bytes: the size of the record.
        """
        self.examples += 1
        self.bytes += record_bytes
        fits, longer = True, lengths.inputs_positions(problem.inputs, sizes)
        for key, feature in problem.keyed_features.items():
            size = sizes[key]
            self.longest[key] = max(self.longest.get(key, 0), size)
            self.total[key] = self.total.get(key, 0) + size
            fits = fits and size <= lengths.max_length(feature)
        longer = max(longer, lengths.positions(problem.targets, sizes["targets"]))
        if fits:
            self.positions[longer] = self.positions.get(longer, 0) + 1
        else:
            self.too_long += 1

    def merge(self, other: "SplitStats") -> None:
        """Adds the statistics of other examples of the split."""
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
        """The inverse of `dataclasses.asdict`, also after a round trip through JSON."""
        positions = {int(length): number for length, number in stored["positions"].items()}
        return cls(**{**stored, "positions": positions})
