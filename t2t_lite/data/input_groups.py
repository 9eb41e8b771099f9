"""Finds the examples of a split that have the same inputs, such as the captions of a picture."""

import hashlib
from dataclasses import dataclass

import numpy as np

from t2t_lite.data.records import parse
from t2t_lite.data.shard_reader import ShardReader

_CHUNK = 256  # records read at a time: a photo takes some 50 kB


@dataclass(frozen=True)
class InputGroups:
    """The examples of a split, grouped by their inputs as they are stored.

    Attributes:
      is_first: (N,) whether an example is the first one with its inputs.
      targets: {first example: the token ids of the targets of all examples with its inputs, in the split's order}.
    """

    is_first: np.ndarray
    targets: dict[int, list[np.ndarray]]

    @classmethod
    def find(cls, reader: ShardReader, examples: int) -> "InputGroups":
        """Reads all examples of a split once; their targets must be text.

        Raises:
          ValueError: a record is damaged, or its shard cannot be read.
        """
        is_first = np.zeros(examples, bool)
        targets: dict[int, list[np.ndarray]] = {}
        firsts: dict[bytes, int] = {}  # by a hash of the inputs
        for start in range(0, examples, _CHUNK):
            records = np.arange(start, min(start + _CHUNK, examples))
            for number, record in zip(records.tolist(), reader.read(records), strict=True):
                values = parse(record)
                content = hashlib.blake2b(digest_size=16)
                for key in sorted(key for key in values if key.startswith("inputs")):
                    inputs = values[key]
                    content.update(inputs if isinstance(inputs, bytes) else np.array(inputs, np.int64).tobytes())
                first = firsts.setdefault(content.digest(), number)
                is_first[number] = first == number
                targets.setdefault(first, []).append(np.array(values["targets"], np.int32))
        return cls(is_first, targets)

    @property
    def all_differ(self) -> bool:
        """Whether no two examples have the same inputs."""
        return bool(self.is_first.all())
