"""Reads records of a split by their position, from any number of threads."""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2t_lite.data.manifest import Shard
from t2t_lite.data.records import unframe_record

_MAX_OPEN_FILES = 256  # of all readers of the process

_readers: "weakref.WeakSet[ShardReader]" = weakref.WeakSet()


class ShardReader:
    """Reads records by position: record n is in shard n modulo the number of shards.

    Args:
      data_dir: the folder.
      shards: the shards of the split.
      offsets: (N,) the byte in its shard at which each record begins.
    """

    def __init__(self, data_dir: Path, shards: Sequence[Shard], offsets: np.ndarray):
        self._paths = [data_dir / shard.name for shard in shards]
        self._sizes = np.array([shard.bytes for shard in shards])
        self._offsets = offsets
        self._files: dict[int, _File] = {}  # least recently used first
        self._lock = threading.Lock()
        _readers.add(self)

    def read(self, records: np.ndarray) -> list[bytes]:
        """Returns records by their positions in the split (B,).

        Raises:
          ValueError: a record is damaged, or its shard cannot be read.
        """
        shards = records % len(self._paths)
        following = records + len(self._paths)  # the next records of the same shards
        starts = self._offsets[records].astype(np.int64)
        last = following >= len(self._offsets)
        ends = np.where(last, self._sizes[shards], self._offsets[np.where(last, records, following)])
        found = [b""] * len(records)
        for row in np.argsort(shards, kind="stable").tolist():
            shard, start = int(shards[row]), int(starts[row])
            try:
                file = self._open(shard)
                found[row] = unframe_record(os.pread(file.descriptor, int(ends[row]) - start, start))
            except (OSError, ValueError) as e:
                raise ValueError(f"{self._paths[shard]}: cannot read the record at byte {start}: {e}") from e
        return found

    def _open(self, shard: int) -> "_File":
        with self._lock:
            file = self._files.pop(shard, None) or _File(self._paths[shard])
            self._files[shard] = file
            while len(self._files) > max(1, _MAX_OPEN_FILES // len(_readers)):
                del self._files[next(iter(self._files))]
            return file


class _File:
    """An open file, which is closed when nobody refers to it any more."""

    def __init__(self, path: Path):
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
