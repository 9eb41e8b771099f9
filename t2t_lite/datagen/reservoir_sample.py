"""Reservoir sample of a stream; the result does not depend on how the stream is split over workers."""

import heapq
from collections.abc import Iterator
from typing import Any

_MASK = (1 << 64) - 1


class ReservoirSample:
    """A uniform sample of a stream of unknown length, with a limit on the total size of the items kept.

    Keeps the items with the smallest keys. A key is a hash of the item's number, so the same items give the same
    sample in any order of `add` and after any `merge`.

    Args:
      limit: the largest total size of the items kept.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._kept: list[tuple[int, int, int, Any]] = []  # a heap of (-key, number, size, item)
        self._size = 0
        self._bound = _MASK + 1  # items with this key or a larger one are never kept

    def wants(self, number: int) -> bool:
        """Returns whether an item with this number may still be kept. Once False, it stays False."""
        return _key(number) < self._bound

    def add(self, number: int, size: int, item: Any) -> None:
        """Offers an item to the sample."""
        if not self.wants(number):
            return
        heapq.heappush(self._kept, (-_key(number), number, size, item))
        self._size += size
        while self._size > self._limit:
            key, _, size, _ = heapq.heappop(self._kept)
            self._size -= size
            self._bound = -key

    def merge(self, other: "ReservoirSample") -> None:
        """Adds the items of another sample with the same limit."""
        self._bound = min(self._bound, other._bound)
        for _, number, size, item in other._kept:
            self.add(number, size, item)
        while self._kept and -self._kept[0][0] >= self._bound:
            self._size -= heapq.heappop(self._kept)[2]

    def __iter__(self) -> Iterator[Any]:
        """Yields the items kept, ordered by number."""
        yield from (kept[3] for kept in sorted(self._kept, key=lambda kept: kept[1]))

    def __len__(self) -> int:
        return len(self._kept)


def _key(number: int) -> int:
    """Hashes a number to 64 bits (splitmix64)."""
    z = (number + 1) * 0x9E3779B97F4A7C15 & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31
