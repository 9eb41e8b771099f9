"""The manifest of a problem's records. Datagen writes it last, so it marks the records as complete."""

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError

FORMAT = 1  # version of the format of manifests and records


@dataclass
class Shard:
    """One TFRecord file."""

    name: str
    bytes: int
    crc32: int


@dataclass
class Split:
    """The records of one split. Lengths are tokens without the end token, or samples."""

    examples: int = 0
    shards: list[Shard] = field(default_factory=list)
    lengths: dict[str, dict[str, float]] = field(default_factory=dict)  # "inputs", "targets" -> "max", "mean"
    positions: dict[int, int] = field(default_factory=dict)  # of the longer side -> examples, unless too long
    too_long: int = 0  # examples whose inputs or targets exceed the feature's maximum
    broken: int = 0  # examples that could not be stored and were left out

    @property
    def bytes(self) -> int:
        """The total size of the shards."""
        return sum(shard.bytes for shard in self.shards)


@dataclass
class Manifest:
    """The description of a problem's records.

    Attributes:
      problem: its name.
      declared: its declaration in the code; if the code declares another one, the records are outdated.
      declaration: the same with what datagen found in the raw files (languages, classes); training uses it.
      splits: the records of each split.
      vocabularies: {name: checksum}.
      source: where the examples came from: the problem's "class", its "description", the folder "raw_dir"; of
        table_files also the checksum of "table_yaml".
      version: the version of t2t_lite that generated the records.
      format: the version of this format.
    """

    problem: str
    declared: dict[str, Any]
    declaration: dict[str, Any]
    splits: dict[str, Split]
    vocabularies: dict[str, str]
    source: dict[str, str] = field(default_factory=dict)
    version: str = ""
    format: int = FORMAT

    def save(self, data_dir: Path) -> None:
        """Writes the manifest atomically."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        # The name of a file that is not UTF-8 holds lone surrogates, which become the escapes that JSON has for them.
        write_atomically(manifest_path(data_dir, self.problem), text.encode("utf8", "backslashreplace"))

    @classmethod
    def load(cls, data_dir: Path, problem: str) -> "Manifest":
        """Reads the manifest of a problem and checks that its shards and vocabularies exist and have the right size.

        Raises:
          UserError: the manifest is missing or unreadable, a shard is missing or has another size, a vocabulary is
            missing or has changed. The text names the file and the command to run.
        """
        manifest = cls.read(data_dir, problem)
        manifest._check_files(data_dir, f"run t2t-datagen --problem={problem} --data_dir={data_dir}")
        return manifest

    @classmethod
    def read(cls, data_dir: Path, problem: str) -> "Manifest":
        """Reads the manifest of a problem, without a check of its files.

        Raises:
          UserError: it is missing or unreadable.
        """
        path = manifest_path(data_dir, problem)
        remedy = f"run t2t-datagen --problem={problem} --data_dir={data_dir}"
        if not path.exists():
            raise UserError(f"problem '{problem}' has no data in {data_dir}: {remedy}")
        try:
            stored = json.loads(path.read_text(encoding="utf8"))
            if stored["format"] != FORMAT:
                raise UserError(f"{path}: written by another version of t2t_lite: {remedy}")
            stored["splits"] = {name: _split(split) for name, split in stored["splits"].items()}
            return cls(**stored)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(f"{path}: not a manifest ({type(e).__name__}: {e}): {remedy}") from e

    def declares(self, declaration: dict[str, Any]) -> bool:
        """Returns whether the records were generated from this declaration of the problem."""
        return bool(self.declared == json.loads(json.dumps(declaration)))

    def _check_files(self, data_dir: Path, remedy: str) -> None:
        for split in self.splits.values():
            for shard in split.shards:
                path = data_dir / shard.name
                if not path.exists():
                    raise UserError(f"{path}: missing, although the manifest names it: {remedy}")
                if path.stat().st_size != shard.bytes:
                    raise UserError(f"{path}: {path.stat().st_size} bytes, the manifest says {shard.bytes}: {remedy}")
        for name, checksum in self.vocabularies.items():
            path = vocabulary_path(data_dir, name)
            if not path.exists():
                raise UserError(f"{path}: missing, although problem '{self.problem}' is encoded with it: {remedy}")
            if Vocabulary.load(path).checksum != checksum:
                raise UserError(f"{path}: has changed since problem '{self.problem}' was encoded with it: {remedy}")


def manifest_path(data_dir: Path, problem: str) -> Path:
    """The path of a problem's manifest."""
    return data_dir / f"{problem}.manifest.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file atomically and durably: after a crash it has the new content or the old one, never a part."""
    temporary = path.with_name(path.name + ".incomplete")
    temporary.write_bytes(content)
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flushes a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_crc32(path: Path) -> int:
    """The CRC-32 of a file's content."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _split(stored: dict[str, Any]) -> Split:
    stored["shards"] = [Shard(**shard) for shard in stored["shards"]]
    stored["positions"] = {int(length): count for length, count in stored["positions"].items()}
    return Split(**stored)
