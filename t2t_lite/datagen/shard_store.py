"""The shards of a problem while they are made: kept across a kill, and given their names only when they are whole."""

import json
import os
import re
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2t_lite.data.manifest import Shard, manifest_path, sync, write_atomically
from t2t_lite.datagen.encode_examples import EncodedPart
from t2t_lite.datagen.split_stats import SplitStats

_FLUSH_BYTES = 64 << 20  # what is held in memory before it is written; work that a kill undoes is no more than this,
_FLUSH_SECONDS = 5.0  # or what was done in this time
_FULL = 10  # examples a shard at least; a split of fewer has a single one; so has every split but the first

Broken = list[tuple[int, str]]  # an example's number in its split, and what is wrong with it


@dataclass
class SplitProgress:
    """How far a split has got.

    Attributes:
      items: of `Problem.examples` that are done.
      tally: what is counted of the records written.
      broken: examples left out.
      shards: as far as they are written; none before their number is known.
      done: nothing is missing.
    """

    items: int = 0
    tally: SplitStats = field(default_factory=SplitStats)
    broken: Broken = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
    done: bool = False

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "SplitProgress":
        """The inverse of `dataclasses.asdict`, JSON in between."""
        tally, shards = SplitStats.from_dict(stored["tally"]), [Shard(**shard) for shard in stored["shards"]]
        return cls(stored["items"], tally, [(n, why) for n, why in stored["broken"]], shards, stored["done"])


class ShardStore:
    """The files of one problem in the making.

    Shards grow under names that end in ".incomplete", and so does a note of how far they have got.

    Args:
      data_dir: the folder, which must exist.
      problem: the problem's name.

    Attributes:
      splits: {split: Progress}.
      declaration: of the problem, with what a look at its examples told.
    """

    def __init__(self, data_dir: Path, problem: str):
        self._data_dir, self._problem = data_dir, problem
        self._key: dict[str, Any] = {}
        self._publishing = False
        self.splits: dict[str, SplitProgress] = {}
        self.declaration: dict[str, Any] = {}

    def resume(self, key: dict[str, Any]) -> bool:
        """Takes up what a killed run left, if the records then depended on the same key; otherwise removes it.

        Args:
          key: what the records depend on, JSON-able.

        Returns:
          Whether there was something to take up.
        """
        try:
            noted = json.loads(self._path.read_text(encoding="utf8"))
            self._key, self.declaration, self._publishing = noted["key"], noted["declaration"], noted["publishing"]
            self.splits = {name: SplitProgress.from_dict(split) for name, split in noted["splits"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            self.splits = {}
        shards = [shard for split in self.splits.values() for shard in split.shards]
        if shards and self._key == json.loads(json.dumps(key)) and all(map(self._cut, shards)):
            return True
        self.discard()
        return False

    def begin(self, key: dict[str, Any], declaration: dict[str, Any]) -> None:
        """Starts from nothing."""
        self._key, self.declaration = json.loads(json.dumps(key)), declaration
        self.splits, self._publishing = {}, False

    def save(self) -> None:
        """Notes down how far all splits have got."""
        noted = {
            "key": self._key,
            "declaration": self.declaration,
            "publishing": self._publishing,
            "splits": {name: asdict(split) for name, split in self.splits.items()},
        }
        write_atomically(self._path, json.dumps(noted).encode())

    def publish(self) -> None:
        """Gives the shards their names, in place of those of an older generation, whose manifest goes first."""
        self._publishing = True
        self.save()
        manifest_path(self._data_dir, self._problem).unlink(missing_ok=True)
        names = [shard.name for split in self.splits.values() for shard in split.shards]
        for name in names:
            if incomplete(self._data_dir / name).exists():
                os.replace(incomplete(self._data_dir / name), self._data_dir / name)
        for path in shard_files(self._data_dir, self._problem):
            if path.name not in names:
                path.unlink()
        sync(self._data_dir)

    def discard(self) -> None:
        """Removes what is incomplete, or noted down about it."""
        for path in [self._path, *shard_files(self._data_dir, self._problem, r"(\.\w+)?\.incomplete")]:
            path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return incomplete(self._data_dir / f"{self._problem}.progress")

    def _cut(self, shard: Shard) -> bool:
        """Cuts a shard to the size noted; returns whether it was there."""
        path = incomplete(self._data_dir / shard.name)
        if path.exists() and path.stat().st_size >= shard.bytes:
            os.truncate(path, shard.bytes)
            return True
        path = self._data_dir / shard.name
        return self._publishing and path.exists() and path.stat().st_size == shard.bytes


class SplitWriter:
    """Appends the parts of a split to its shards: record n goes into shard n modulo their number.

    Args:
      data_dir: the folder.
      store: takes the progress.
      problem, split: their names.
      shards: how many, unless the split has few examples.
    """

    def __init__(self, data_dir: Path, store: ShardStore, problem: str, split: str, shards: int):
        self._data_dir, self._store, self._shards = data_dir, store, shards
        self._stem = f"{problem}-{split}"
        self.progress = store.splits.setdefault(split, SplitProgress())
        self._waiting: list[bytes] = []
        self._bytes, self._flushed = 0, time.monotonic()

    def add(self, part: EncodedPart) -> None:
        """Takes the next part."""
        progress = self.progress
        progress.items += part.items
        progress.tally.add(part.tally)
        progress.broken += part.broken
        self._waiting += part.records
        self._bytes += sum(map(len, part.records))
        if not progress.shards:
            if number_of_shards(progress.tally, self._shards) < self._shards:
                return
            self._name_shards()
        if self._bytes >= _FLUSH_BYTES or time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._flush()

    def finish(self) -> None:
        """Writes what is left."""
        if not self.progress.shards:
            self._name_shards()
        self.progress.done = True
        self._flush()

    def _name_shards(self) -> None:
        number = number_of_shards(self.progress.tally, self._shards)
        self.progress.shards = [Shard(shard_name(self._stem, n, number), 0, 0) for n in range(number)]

    def _flush(self) -> None:
        """Appends what waits, and notes it down once it is on the disk."""
        shards = self.progress.shards
        start = self.progress.tally.examples - len(self._waiting)
        for n, shard in enumerate(shards):
            content = b"".join(self._waiting[(n - start) % len(shards) :: len(shards)])
            with incomplete(self._data_dir / shard.name).open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            shard.bytes += len(content)
            shard.crc32 = zlib.crc32(content, shard.crc32)
        self._waiting, self._bytes, self._flushed = [], 0, time.monotonic()
        self._store.save()


def number_of_shards(tally: SplitStats, wanted: int) -> int:
    """How many shards a split gets: as many as are wanted, or one where it has few examples that take little."""
    enough = tally.examples >= _FULL * wanted or (tally.examples >= wanted and tally.bytes > _FLUSH_BYTES)
    return wanted if enough else 1


def shard_name(stem: str, shard: int, number: int) -> str:
    """The name of a shard of `PROBLEM-SPLIT`."""
    return f"{stem}-{shard:05d}-of-{number:05d}"


def incomplete(path: Path) -> Path:
    """What a file is called until it is whole."""
    return path.with_name(path.name + ".incomplete")


def shard_files(data_dir: Path, problem: str, ending: str = "") -> list[Path]:
    """The files in a folder that are named like shards of a problem, and end as a regular expression says."""
    pattern = re.compile(rf"{re.escape(problem)}-\w+-\d{{5}}-of-\d{{5}}{ending}")
    return [path for path in data_dir.iterdir() if pattern.fullmatch(path.name)]
