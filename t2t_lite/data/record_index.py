"""The index of a split's records, `PROBLEM-SPLIT.index`: where each record begins, and the lengths of its two sides.

It has a row for each record in the order of the split, then a footer with its own checksum and that of the list of
shards. Datagen writes it beside the shards. An index that is missing, damaged or of other shards is made again from
the shards, so no manifest names it.
"""

import json
import os
import struct
import uuid
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from t2t_lite.data import lengths
from t2t_lite.data.manifest import Shard, Split, sync
from t2t_lite.data.records import DamageError, frame_bytes, read_records, value_sizes
from t2t_lite.problems.features import Audio, Feature, Text
from t2t_lite.problems.problem import Problem
from t2t_lite.progress import print_status, progress_counter

# The byte in its shard at which a record begins; tokens without the end token, samples, or 1.
ROW = np.dtype([("offset", "<u8"), ("inputs", "<u4"), ("targets", "<u4")])
CHUNK = 1 << 20  # records that are worked on at a time, which bounds memory
_FOOTER = struct.Struct("<8sQII")  # magic, number of rows, CRC-32 of the rows, CRC-32 of the list of shards
_MAGIC = b"t2tindx1"


@dataclass(frozen=True)
class RecordIndex:
    """The records of a split, in memory: some 8 bytes each.

    Attributes:
      offsets: (N,) the byte at which a record begins; record n is in shard n modulo their number.
      inputs, targets: (N,) positions of the two sides, cut to their feature's maximum.
      fits: (N,) whether neither side exceeds its feature's maximum.
    """

    offsets: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    fits: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def open(cls, data_dir: Path, problem: Problem, name: str, split: Split) -> "RecordIndex":
        """Reads the index of a split; makes it from the shards if it is missing or not theirs.

        Raises:
          ValueError: a shard is damaged.
          OSError: a shard cannot be read.
        """
        path = index_path(data_dir, problem.name, name)
        try:
            return cls.from_rows(problem, split, _read(path, split.shards, split.examples))
        except (_InvalidIndex, FileNotFoundError):
            print_status(f"{problem.name}, {name}: making {path}, the index of the records, from the shards")
        rows = build(data_dir, problem, split.shards)
        if len(rows) != split.examples:
            raise ValueError(f"{len(rows)} records where the manifest says {split.examples}")
        try:
            _write(path, rows, split.shards)
        except OSError as e:
            print_status(f"{path}: cannot be written ({e.strerror}); the index is kept in memory")
        return cls.from_rows(problem, split, [rows])

    @classmethod
    def from_rows(cls, problem: Problem, split: Split, chunks: Iterable[np.ndarray]) -> "RecordIndex":
        """Makes the index from its rows, given in order in chunks."""
        tables = {
            key: _positions(feature, int(split.lengths.get(key, {}).get("max", lengths.max_length(feature))))
            for key, feature in problem.keyed_features.items()
            if key in ("inputs", "targets")
        }
        if isinstance(problem.inputs, tuple):  # stored in positions
            tables["inputs"] = _whole_numbers(lengths.longest_inputs(problem.inputs))
        large = max((shard.bytes for shard in split.shards), default=0) >= 1 << 32
        offsets = np.empty(split.examples, np.uint64 if large else np.uint32)
        sides = {key: np.empty(split.examples, table.dtype) for key, table in tables.items()}
        fits = np.ones(split.examples, bool)
        start = 0
        for rows in chunks:
            window = slice(start, start + len(rows))
            offsets[window] = rows["offset"]
            for key, table in tables.items():
                sides[key][window] = table[np.minimum(rows[key], len(table) - 1)]
                fits[window] &= rows[key] < len(table)
            start += len(rows)
        return cls(offsets, sides["inputs"], sides["targets"], fits)


class _InvalidIndex(Exception):
    """An index file is damaged, or belongs to other shards."""


def index_path(data_dir: Path, problem: str, split: str) -> Path:
    """The path of a split's index."""
    return data_dir / f"{problem}-{split}.index"


def make_rows(offsets: np.ndarray, sides: Sequence[tuple[int, int]]) -> np.ndarray:
    """Makes rows (N,) of offsets (N,) and the lengths of inputs and targets."""
    rows = np.empty(len(offsets), ROW)
    rows["offset"] = offsets
    rows["inputs"], rows["targets"] = np.array(sides, np.uint32).reshape(-1, 2).T
    return rows


def append_rows(path: Path, start: int, rows: np.ndarray) -> None:
    """Appends rows to an unfinished index, durably. Does nothing if rows before `start` are missing.

    Args:
      path: the unfinished file.
      start: the number of rows before these; later ones, which an interrupted generation left, are replaced.
      rows: the rows.
    """
    with path.open("ab") as file:
        if file.tell() < start * ROW.itemsize:
            return
        file.truncate(start * ROW.itemsize)
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())


def finish(data_dir: Path, problem: Problem, name: str, shards: Sequence[Shard], examples: int) -> None:
    """Completes the index of a complete split: from the rows appended if all are there, otherwise from the shards."""
    path = index_path(data_dir, problem.name, name)
    unfinished = path.with_name(path.name + ".incomplete")
    if unfinished.exists() and unfinished.stat().st_size >= examples * ROW.itemsize:
        os.truncate(unfinished, examples * ROW.itemsize)
        crc = 0
        with unfinished.open("rb") as file:
            while block := file.read(1 << 24):
                crc = zlib.crc32(block, crc)
        with unfinished.open("ab") as file:
            file.write(_FOOTER.pack(_MAGIC, examples, crc, _shards_crc32(shards)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    elif check(path, shards, examples):
        unfinished.unlink(missing_ok=True)
        _write(path, build(data_dir, problem, shards), shards)


def check(path: Path, shards: Sequence[Shard], examples: int) -> str:
    """Returns what is wrong with an index file; "" if nothing is."""
    try:
        for _ in _read(path, shards, examples):
            pass
    except FileNotFoundError:
        return f"{path}: missing"
    except _InvalidIndex as e:
        return f"{path}: {e}"
    return ""


def build(data_dir: Path, problem: Problem, shards: Sequence[Shard]) -> np.ndarray:
    """Makes the rows of an index from the shards.

    Raises:
      ValueError: a shard is damaged.
      OSError: a shard cannot be read.
    """
    features = problem.keyed_features
    columns = []
    with progress_counter(f"{problem.name}: index of the records") as add:
        for shard in shards:
            offsets, inputs, targets, offset = array("Q"), array("I"), array("I"), 0
            try:
                for record in read_records(data_dir / shard.name):
                    stored = value_sizes(record)
                    sizes = {key: _length(feature, stored[key]) for key, feature in features.items()}
                    offsets.append(offset)
                    inputs.append(lengths.stored_inputs_length(problem.inputs, sizes))
                    targets.append(sizes["targets"])
                    offset += frame_bytes(len(record))
                    if len(offsets) % 10_000 == 0:
                        add(10_000)
            except (DamageError, KeyError, IndexError) as e:
                raise ValueError(f"{data_dir / shard.name}: damaged: {e}") from e
            columns.append((offsets, inputs, targets))
            add(len(offsets) % 10_000)
    rows = np.empty(sum(len(offsets) for offsets, _, _ in columns), ROW)
    for number, shard_columns in enumerate(columns):
        for key, column in zip(ROW.names or (), shard_columns, strict=True):
            if len(rows[number :: len(shards)]) != len(column):
                raise ValueError(f"{data_dir / shards[number].name}: {len(column)} records, which does not fit others")
            rows[key][number :: len(shards)] = column
    return rows


def _length(feature: Feature, size: int) -> int:
    """The length of a stored value from its size: integers, or bytes."""
    if isinstance(feature, Text):
        return size
    return size // 2 if isinstance(feature, Audio) else 1


def _positions(feature: Feature, longest: int) -> np.ndarray:
    """Table of positions by length, up to the longest stored value or the feature's maximum."""
    longest = min(longest, lengths.max_length(feature))
    table = np.array([lengths.positions(feature, length) for length in range(longest + 1)])
    return table.astype(np.min_scalar_type(int(table.max())))


def _whole_numbers(longest: int) -> np.ndarray:
    """The numbers up to the longest one."""
    return np.arange(longest + 1).astype(np.min_scalar_type(longest))


def _shards_crc32(shards: Sequence[Shard]) -> int:
    return zlib.crc32(json.dumps([asdict(shard) for shard in shards]).encode())


def _read(path: Path, shards: Sequence[Shard], examples: int) -> Iterator[np.ndarray]:
    """Yields the rows of an index file in chunks.

    Raises:
      _InvalidIndex: it is damaged (which may be known only at its end), or is not that of these shards.
    """
    if path.stat().st_size != examples * ROW.itemsize + _FOOTER.size:
        raise _InvalidIndex("not the index of these shards: it has another size")
    crc = 0
    with path.open("rb") as file:
        for start in range(0, examples, CHUNK):
            block = file.read(min(CHUNK, examples - start) * ROW.itemsize)
            crc = zlib.crc32(block, crc)
            yield np.frombuffer(block, ROW)
        magic, rows, rows_crc, shards_crc = _FOOTER.unpack(file.read(_FOOTER.size))
    if (magic, rows, rows_crc) != (_MAGIC, examples, crc):
        raise _InvalidIndex("damaged")
    if shards_crc != _shards_crc32(shards):
        raise _InvalidIndex("not the index of these shards")


def _write(path: Path, rows: np.ndarray, shards: Sequence[Shard]) -> None:
    """Writes an index atomically; several processes may do so at the same time."""
    content = rows.tobytes()
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.incomplete")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.write(_FOOTER.pack(_MAGIC, len(rows), zlib.crc32(content), _shards_crc32(shards)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
