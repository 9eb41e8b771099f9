"""The examples of a split that a report shows and measures."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from t2t_lite.data.raw_pairs import Pair, stored_pairs
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError

_READ = 1000  # the first records of a split, out of which examples are taken


@dataclass(frozen=True)
class Sample:
    """Examples of a problem as raw values, drawn evenly from the first records of a split."""

    data_dir: Path
    split: str
    pairs: list[Pair]
    several_inputs: bool


def read_sample(data_dir: Path, problem: str, most: int) -> Sample:
    """Reads at most `most` examples of a problem's test split, or else of its dev split.

    Raises:
      UserError: there are no data, no such split or no examples in it, or a record is damaged.
    """
    dataset = Dataset.open(data_dir, problem)
    splits = dataset.manifest.splits
    split = "test" if "test" in splits and splits["test"].examples else "dev"
    stored = dataset.split(split).examples
    if not stored:
        raise UserError(f"its split '{split}' in {data_dir} has no examples")
    every = max(1, min(stored, _READ) // most)
    pairs = list(itertools.islice(stored_pairs(dataset, data_dir, split), 0, every * most, every))
    return Sample(data_dir, split, pairs, isinstance(dataset.problem.inputs, tuple))
