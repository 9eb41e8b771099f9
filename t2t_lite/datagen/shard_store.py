"""The shards of a problem while they are written, with a progress file from which a killed generation resumes."""

import json
import os
import re
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.data.manifest import Shard, manifest_path, sync, write_atomically
from t2t_lite.data.record_index import append_rows, index_path, make_rows
from t2t_lite.datagen.encode_examples import EncodedPart
from t2t_lite.datagen.split_stats import SplitStats

# Records are buffered until they reach this size or age. A kill loses no more than the buffer.
_FLUSH_BYTES = 64 << 20
_FLUSH_SECONDS = 5.0
_MIN_SHARD_EXAMPLES = 10  # a training split with fewer examples per shard gets a single shard

Broken = list[tuple[int, str]]  # (an example's number in its split, reason)


@dataclass
class SplitProgress:
    """How much of a split is written.

    Attributes:
      items: the number of items of `Problem.examples` that are done.
      stats: the statistics of the records written.
      broken: the examples left out.
      shards: the shards as far as they are written; empty while their number is not known.
      done: whether the split is complete.
    """

    items: int = 0
    stats: SplitStats = field(default_factory=SplitStats)
    broken: Broken = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    done: bool = False

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON that `from_dict` reads back. The keys stay: older progress files must be readable."""
        stored = asdict(self)
        stored["tally"] = stored.pop("stats")
        return stored

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "SplitProgress":
        """The inverse of `to_dict`, also after a round trip through JSON."""
        stats, shards = SplitStats.from_dict(stored["tally"]), [Shard(**shard) for shard in stored["shards"]]
        return cls(stored["items"], stats, [(n, reason) for n, reason in stored["broken"]], shards, stored["done"])


class ShardStore:
    """The files of one problem while it is generated.

    Shards and the progress file have names that end in ".incomplete" until the problem is complete.

    Args:
      data_dir: the folder, which must exist.
      problem: the problem's name.

    Attributes:
      splits: {split: SplitProgress}.
      declaration: of the problem, with the classes and languages found in its raw files.
    """

    def __init__(self, data_dir: Path, problem: str):
        self._data_dir, self._problem = data_dir, problem
        self._key: dict[str, Any] = {}
        self._finalizing = False
        self.splits: dict[str, SplitProgress] = {}
        self.declaration: dict[str, Any] = {}

    def resume(self, key: dict[str, Any]) -> bool:
        """Loads what an interrupted generation left, if its records depended on the same key; otherwise deletes it.

        Args:
          key: what the records depend on, in a form for JSON.

        Returns:
          Whether there was something to resume.
        """
        try:
            stored = json.loads(self._path.read_text(encoding="utf8"))
            self._key, self.declaration, self._finalizing = stored["key"], stored["declaration"], stored["publishing"]
            self.splits = {name: SplitProgress.from_dict(split) for name, split in stored["splits"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.splits = {}
        shards = [shard for split in self.splits.values() for shard in split.shards]
        if shards and self._key == json.loads(json.dumps(key)) and all(map(self._truncate, shards)):
            return True
        self.discard()
        return False

    def start(self, key: dict[str, Any], declaration: dict[str, Any]) -> None:
        """Starts a new generation."""
        self._key, self.declaration = json.loads(json.dumps(key)), declaration
        self.splits, self._finalizing = {}, False

    def save_progress(self) -> None:
        """Writes the progress file."""
        stored = {
            "key": self._key,
            "declaration": self.declaration,
            "publishing": self._finalizing,
            "splits": {name: split.to_dict() for name, split in self.splits.items()},
        }
        write_atomically(self._path, json.dumps(stored).encode())

    def finalize(self) -> None:
        """Renames the shards to their final names and deletes those of an older generation, its manifest first."""
        self._finalizing = True
        self.save_progress()
        manifest_path(self._data_dir, self._problem).unlink(missing_ok=True)
        names = [shard.name for split in self.splits.values() for shard in split.shards]
        for name in names:
            if incomplete(self._data_dir / name).exists():
                os.replace(incomplete(self._data_dir / name), self._data_dir / name)
        for path in shard_files(self._data_dir, self._problem):
            if path.name not in names:
                path.unlink()
        for path in index_files(self._data_dir, self._problem):
            if path not in [index_path(self._data_dir, self._problem, split) for split in self.splits]:
                path.unlink()
        sync(self._data_dir)

    def discard(self) -> None:
        """Deletes the incomplete shards and indexes, and the progress file."""
        ending = r"(\.\w+)?\.incomplete"
        files = shard_files(self._data_dir, self._problem, ending) + index_files(self._data_dir, self._problem, ending)
        for path in [self._path, *files]:
            path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return incomplete(self._data_dir / f"{self._problem}.progress")

    def _truncate(self, shard: Shard) -> bool:
        """Truncates a shard to the size in the progress file. Returns whether the shard was there."""
        path = incomplete(self._data_dir / shard.name)
        if path.exists() and path.stat().st_size >= shard.bytes:
            os.truncate(path, shard.bytes)
            return True
        path = self._data_dir / shard.name
        return self._finalizing and path.exists() and path.stat().st_size == shard.bytes


class SplitWriter:
    """Appends encoded parts of a split to its shards: record n goes into shard n modulo their number.

    Args:
      data_dir: the folder.
      store: holds the progress.
      problem, split: their names.
      shards: the number of shards, unless the split has few examples.
    """

    def __init__(self, data_dir: Path, store: ShardStore, problem: str, split: str, shards: int):
        self._data_dir, self._store, self._shards = data_dir, store, shards
        self._stem = f"{problem}-{split}"
        self.progress = store.splits.setdefault(split, SplitProgress())
        self._index = incomplete(index_path(data_dir, problem, split))
        self._buffer: list[bytes] = []
        self._lengths: list[tuple[int, int]] = []
        self._bytes, self._flushed = 0, time.monotonic()

    def add(self, part: EncodedPart) -> None:
        """Adds the next part."""
        progress = self.progress
        progress.items += part.items
        progress.stats.merge(part.stats)
        progress.broken += part.broken
        self._buffer += part.records
        self._lengths += part.lengths
        self._bytes += sum(map(len, part.records))
        if not progress.shards:
            if number_of_shards(progress.stats, self._shards) < self._shards:
                return
            self._name_shards()
        if self._bytes >= _FLUSH_BYTES or time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._flush()

    def finish(self) -> None:
        """Writes the rest and marks the split as complete."""
        if not self.progress.shards:
            self._name_shards()
        self.progress.done = True
        self._flush()

    def _name_shards(self) -> None:
        number = number_of_shards(self.progress.stats, self._shards)
        self.progress.shards = [Shard(shard_name(self._stem, n, number), 0, 0) for n in range(number)]

    def _flush(self) -> None:
        """Appends the buffer to the shards and the index, syncs them to the disk, then saves the progress."""
        shards = self.progress.shards
        start = self.progress.stats.examples - len(self._buffer)
        offsets = np.empty(len(self._buffer), np.int64)
        for n, shard in enumerate(shards):
            own = slice((n - start) % len(shards), None, len(shards))
            content = b"".join(self._buffer[own])
            sizes = np.array([len(record) for record in self._buffer[own]], np.int64)
            offsets[own] = shard.bytes + np.cumsum(sizes) - sizes
            with incomplete(self._data_dir / shard.name).open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            shard.bytes += len(content)
            shard.crc32 = zlib.crc32(content, shard.crc32)
        append_rows(self._index, start, make_rows(offsets, self._lengths))
        self._buffer, self._lengths, self._bytes, self._flushed = [], [], 0, time.monotonic()
        self._store.save_progress()


def number_of_shards(stats: SplitStats, wanted: int) -> int:
    """The number of shards of a split: the wanted number, or one if the split has few examples of little size."""
    enough = stats.examples >= _MIN_SHARD_EXAMPLES * wanted or (stats.examples >= wanted and stats.bytes > _FLUSH_BYTES)
    return wanted if enough else 1


def shard_name(stem: str, shard: int, number: int) -> str:
    """The name of a shard of `PROBLEM-SPLIT`."""
    return f"{stem}-{shard:05d}-of-{number:05d}"


def incomplete(path: Path) -> Path:
    """The name of a file while it is written."""
    return path.with_name(path.name + ".incomplete")


def shard_files(data_dir: Path, problem: str, ending: str = "") -> list[Path]:
    """The files in a folder that are named like shards of a problem, followed by a regular expression."""
    pattern = re.compile(rf"{re.escape(problem)}-\w+-\d{{5}}-of-\d{{5}}{ending}")
    return [path for path in data_dir.iterdir() if pattern.fullmatch(path.name)]


def index_files(data_dir: Path, problem: str, ending: str = "") -> list[Path]:
    """The files in a folder that are named like indexes of a problem, followed by a regular expression."""
    pattern = re.compile(rf"{re.escape(problem)}-\w+\.index{ending}")
    return [path for path in data_dir.iterdir() if pattern.fullmatch(path.name)]
