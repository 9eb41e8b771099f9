"""An even sample of a stream of unknown length, bounded in size, which does not depend on who reads which part."""

import heapq
from collections.abc import Iterator
from typing import Any

_MASK = (1 << 64) - 1


class ReservoirSample:
    """Keeps the items whose keys are smallest, as many as their sizes allow. Keys are drawn from numbers alone.

    Whatever the order of `add`, and however many samples are merged, the same items give the same sample.

    Args:
      limit: what the sizes of the items kept may sum up to.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._kept: list[tuple[int, int, int, Any]] = []  # a heap: minus the key, the number, the size, the item
        self._size = 0
        self._bound = _MASK + 1  # items with keys from here on are out for good

    def wants(self, number: int) -> bool:
        """Whether an item of that number could still be kept; False is final."""
        return _key(number) < self._bound

    def add(self, number: int, size: int, item: Any) -> None:
        """Takes an item, or leaves it."""
        if not self.wants(number):
            return
        heapq.heappush(self._kept, (-_key(number), number, size, item))
        self._size += size
        while self._size > self._limit:
            key, _, size, _ = heapq.heappop(self._kept)
            self._size -= size
            self._bound = -key

    def merge(self, other: "ReservoirSample") -> None:
        """Takes the items of another sample of the same limit."""
        self._bound = min(self._bound, other._bound)
        for _, number, size, item in other._kept:
            self.add(number, size, item)
        while self._kept and -self._kept[0][0] >= self._bound:
            self._size -= heapq.heappop(self._kept)[2]

    def __iter__(self) -> Iterator[Any]:
        """Yields the items kept, by number."""
        yield from (kept[3] for kept in sorted(self._kept, key=lambda kept: kept[1]))

    def __len__(self) -> int:
        return len(self._kept)


def _key(number: int) -> int:
    """A number of 64 bits that looks random: splitmix64."""
    z = (number + 1) * 0x9E3779B97F4A7C15 & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31
