"""The plan of an epoch: which records make each of its batches, in which order. NumPy only.

The order is drawn over the whole split from (seed, epoch) alone. 40 million records take a few seconds and some
200 MB beside their index.
"""

import threading
from collections.abc import Mapping

import numpy as np

from t2t_lite.data.record_index import CHUNK, RecordIndex

_BATCHES_TO_SORT = 4  # batches of a bucket that are sorted together by length difference


class EpochPlans:
    """The batches of any epoch of a split. Keeps the plan of one epoch at a time; threads may share it.

    Each batch has records of one bucket, which are those whose longer side is padded to the same boundary. The rest of
    a bucket makes a smaller batch, so an epoch has each record once.

    Args:
      index: the split's records.
      sizes: {bucket boundary: records in a batch}, boundaries ascending, from `lengths.batch_sizes`.
      seed: shuffles records and batches. None: records in the order of the split, and batches in the order in which
        they are full.
      drop_long: leaves out records that exceed a feature's maximum.
      keep: (N,) leaves out records for which it is False; None: keeps all.
      by_difference: sorts four batches of a bucket together by the difference between their sides' lengths, so that
        the shorter side has less padding.

    Attributes:
      batches_in_epoch: the number of batches.
    """

    def __init__(
        self,
        index: RecordIndex,
        sizes: Mapping[int, int],
        *,
        seed: int | None = None,
        drop_long: bool = False,
        keep: np.ndarray | None = None,
        by_difference: bool = False,
    ):
        self._index, self._seed = index, seed
        self._drop_long, self._keep, self._by_difference = drop_long, keep, by_difference
        self._sizes = np.array(list(sizes.values()))
        boundaries = np.array(list(sizes))
        longest = max((int(side.max()) for side in (index.inputs, index.targets) if len(side)), default=0)
        buckets = np.minimum(np.searchsorted(boundaries, np.arange(longest + 1)), len(boundaries) - 1)
        self._bucket_of = buckets.astype(np.uint8)  # by positions
        counts = sum(
            (np.bincount(self._buckets(start), minlength=len(sizes) + 1) for start in range(0, len(index), CHUNK)),
            np.zeros(len(sizes) + 1, int),
        )[:-1]
        self._record_starts = np.concatenate([[0], np.cumsum(counts)])  # of the buckets in the order of records
        self._batch_starts = np.concatenate([[0], np.cumsum(-(-counts // self._sizes))])
        self.batches_in_epoch = int(self._batch_starts[-1])
        self._lock = threading.Lock()
        self._epoch: int | None = None
        self._records = self._batches = np.empty(0, np.uint32)

    def batch(self, epoch: int, number: int) -> np.ndarray:
        """Returns the records (B,) of a batch, as positions in the split."""
        with self._lock:
            if self._epoch != epoch:
                self._epoch = None
                del self._records, self._batches  # frees their memory before the next plan needs it
                self._records, self._batches = self._draw(epoch)
                self._epoch = epoch
            batch = int(self._batches[number])
            bucket = int(np.searchsorted(self._batch_starts, batch, side="right")) - 1
            size = int(self._sizes[bucket])
            start = int(self._record_starts[bucket]) + (batch - int(self._batch_starts[bucket])) * size
            return self._records[start : min(start + size, int(self._record_starts[bucket + 1]))].copy()

    def _buckets(self, start: int) -> np.ndarray:
        """The buckets (CHUNK,) of the records from `start` on; one more than the last for records to leave out."""
        window = slice(start, start + CHUNK)
        buckets = self._bucket_of[np.maximum(self._index.inputs[window], self._index.targets[window])]
        if self._drop_long:
            buckets[~self._index.fits[window]] = len(self._sizes)
        if self._keep is not None:
            buckets[~self._keep[window]] = len(self._sizes)
        return buckets

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the records, bucket after bucket, and the order of the batches cut from them."""
        records = self._by_bucket()
        segments = list(zip(self._record_starts[:-1], self._record_starts[1:], self._sizes, strict=True))
        if self._seed is None:
            # A batch is full with its last record; the rests of the buckets come at the end.
            full = [records[start + size - 1 : end : size] for start, end, size in segments]
            rests = [[len(self._index)] * int((end - start) % size > 0) for start, end, size in segments]
            ends = [part for bucket in zip(full, rests, strict=True) for part in bucket]
            return records, np.argsort(np.concatenate(ends), kind="stable").astype(np.uint32)
        rng = np.random.default_rng([self._seed % (1 << 64), epoch])
        for start, end, size in segments:
            rng.shuffle(records[start:end])
            if self._by_difference:
                self._sort_by_difference(records[start:end], _BATCHES_TO_SORT * int(size))
        batches = np.arange(self.batches_in_epoch, dtype=np.uint32)
        rng.shuffle(batches)
        return records, batches

    def _by_bucket(self) -> np.ndarray:
        """The records (N,) sorted by bucket, those of a bucket in the order of the split."""
        records = np.empty(self._record_starts[-1], np.uint32)
        free = self._record_starts[:-1].copy()
        for start in range(0, len(self._index), CHUNK):
            buckets = self._buckets(start)
            order = np.argsort(buckets, kind="stable")
            first = 0
            for bucket, count in enumerate(np.bincount(buckets, minlength=len(free))[: len(free)]):
                records[free[bucket] : free[bucket] + count] = order[first : first + count] + start
                free[bucket] += count
                first += count
        return records

    def _sort_by_difference(self, records: np.ndarray, group: int) -> None:
        """Sorts each `group` of records in place by the difference between their sides."""
        step = max(1, CHUNK // group) * group  # bounds memory
        for start in range(0, len(records), step):
            part = records[start : start + step]
            differences = self._index.inputs[part].astype(np.int32) - self._index.targets[part]
            key = differences.clip(-(1 << 15), (1 << 15) - 1).astype(np.int16)
            whole = len(part) // group * group
            for window, columns in ((slice(0, whole), group), (slice(whole, None), len(part) - whole)):
                if columns and len(part[window]):
                    order = np.argsort(key[window].reshape(-1, columns), axis=1, kind="stable")
                    part[window] = np.take_along_axis(part[window].reshape(-1, columns), order, 1).reshape(-1)
