"""The manifest of a problem's records: what datagen made, and the proof that it is whole."""

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError

FORMAT = 1  # of manifests and records


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
    positions: dict[int, int] = field(default_factory=dict)  # of the longer side -> examples, where both sides fit
    too_long: int = 0  # examples of which a side exceeds the feature's maximum
    broken: int = 0  # examples that could not be stored and are left out

    @property
    def bytes(self) -> int:
        """The size of all shards."""
        return sum(shard.bytes for shard in self.shards)


@dataclass
class Manifest:
    """What is known of a problem's records.

    Attributes:
      problem: its name.
      declared: its declaration as the code has it; another one means that the records are outdated.
      declaration: the same with what the raw files told (languages, classes): what training works with.
      splits: the records of each split.
      vocabularies: {name: checksum}.
      source: where the examples came from: {"class": of the problem, "description": its own, "raw_dir": raw files}.
      version: of t2t_lite, which made them.
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
        """Writes the manifest, whole or not at all."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        write_atomically(manifest_path(data_dir, self.problem), text.encode("utf8"))

    @classmethod
    def load(cls, data_dir: Path, problem: str) -> "Manifest":
        """Reads the manifest of a problem and checks that its records and vocabularies are all there.

        Raises:
          UserError: the manifest is missing or unreadable, a shard is missing or has another size, a vocabulary is
            missing or has changed. The text names the file and the command to run.
        """
        manifest = cls.read(data_dir, problem)
        manifest._check_files(data_dir, f"run t2t-datagen --problem={problem} --data_dir={data_dir}")
        return manifest

    @classmethod
    def read(cls, data_dir: Path, problem: str) -> "Manifest":
        """Reads the manifest of a problem, whatever its files are like.

        Raises:
          UserError: it is missing or unreadable.
        """
        path = manifest_path(data_dir, problem)
        mend = f"run t2t-datagen --problem={problem} --data_dir={data_dir}"
        if not path.exists():
            raise UserError(f"problem '{problem}' has no data in {data_dir}: {mend}")
        try:
            stored = json.loads(path.read_text(encoding="utf8"))
            if stored["format"] != FORMAT:
                raise UserError(f"{path}: written by another version of t2t_lite: {mend}")
            stored["splits"] = {name: _split(split) for name, split in stored["splits"].items()}
            return cls(**stored)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(f"{path}: not a manifest ({type(e).__name__}: {e}): {mend}") from e

    def declares(self, declaration: dict[str, Any]) -> bool:
        """Whether the records were made by this declaration of a problem."""
        return bool(self.declared == json.loads(json.dumps(declaration)))

    def _check_files(self, data_dir: Path, mend: str) -> None:
        for split in self.splits.values():
            for shard in split.shards:
                path = data_dir / shard.name
                if not path.exists():
                    raise UserError(f"{path}: missing, though the manifest names it: {mend}")
                if path.stat().st_size != shard.bytes:
                    raise UserError(f"{path}: {path.stat().st_size} bytes, the manifest says {shard.bytes}: {mend}")
        for name, checksum in self.vocabularies.items():
            path = vocabulary_path(data_dir, name)
            if not path.exists():
                raise UserError(f"{path}: missing, though problem '{self.problem}' is stored in it: {mend}")
            if Vocabulary.load(path).checksum != checksum:
                raise UserError(f"{path}: has changed since problem '{self.problem}' was stored in it: {mend}")


def manifest_path(data_dir: Path, problem: str) -> Path:
    """Where the manifest of a problem is stored."""
    return data_dir / f"{problem}.manifest.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that appears whole or not at all, and stays if the power fails."""
    temporary = path.with_name(path.name + ".incomplete")
    temporary.write_bytes(content)
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_crc32(path: Path) -> int:
    """CRC-32 of a file's content."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _split(stored: dict[str, Any]) -> Split:
    stored["shards"] = [Shard(**shard) for shard in stored["shards"]]
    stored["positions"] = {int(length): count for length, count in stored["positions"].items()}
    return Split(**stored)
