"""Guesses what the values of a table's column are: text, classes, pictures or sounds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.media.picture_files import picture_suffixes
from t2t_lite.problems.features import Audio, Feature, Image, Label, Text
from t2t_lite.problems.tables import SOUND_SUFFIXES, is_media

KINDS: dict[str, type[Feature]] = {"text": Text, "class": Label, "picture": Image, "sound": Audio}
_TYPES = {bool: "number", int: "number", float: "number", str: "text", bytes: "bytes", list: "list", dict: "object"}
_NAMED = {"number": "a number", "text": "text", "bytes": "bytes", "list": "a list", "object": "an object"}
_SOUND_STARTS = (b"RIFF", b"fLaC", b"OggS", b"FORM", b"NIST_1A", b"ID3", b"\xff\xfb", b"\xff\xf3", b".snd", b"caff")
_LONGEST_CLASS = 100  # characters of a class name


@dataclass(frozen=True)
class Column:
    """A column of a table and what it holds.

    Attributes:
      name: its name.
      kind: of `KINDS`.
      type: the type that all values must have, "text", "number" or "bytes"; "" if the user named the kind.
    """

    name: str
    kind: str
    type: str = ""

    def value(self, value: Any, where: str, folders: Sequence[Path]) -> Any:
        """Returns a stored value as the feature takes it: a string, or the path or the bytes of a file.

        Args:
          value: of the table.
          where: file and line, for messages.
          folders: those in which the file of a relative path may be.

        Raises:
          UserError: the value is missing, has another type than the column, or names a file that does not exist.
        """
        kind = value_type(value)
        where = f"{where}: column '{self.name}'"
        if not kind:
            raise UserError(f"{where}: empty")
        if self.type and kind != self.type:
            raise UserError(f"{where}: {_NAMED[kind]}, but most rows have {_NAMED[self.type]}")
        if self.kind in ("picture", "sound"):
            return _media(value, where, folders)
        if kind not in ("text", "number"):
            raise UserError(f"{where}: {_NAMED[kind]}, expected text")
        if isinstance(value, bool):
            return str(value).lower()
        return str(value).strip()


def guess(name: str, values: Sequence[tuple[str, Any]], is_target: bool) -> Column:
    """Guesses the kind of a column.

    A target is a class if there are few different values, each several times.

    Args:
      name: the column.
      values: (where, value) of the first rows.
      is_target: whether it is the target, which only text and classes can be.

    Raises:
      UserError: the values are lists, objects or fractions, or targets are pictures or sounds.
    """
    filled = [(where, value) for where, value in values if value_type(value)]
    if not filled:
        raise UserError(f"{values[0][0]}: column '{name}' is empty, also in the {len(values):,} rows from there on")
    most = Counter(value_type(value) for _, value in filled).most_common(1)[0][0]
    where, first = next((where, value) for where, value in filled if value_type(value) == most)
    sample = [value for _, value in filled if value_type(value) == most]
    where = f"{where}: column '{name}'"
    if most in ("list", "object"):
        item = f"{name}.0" if most == "list" else f"{name}.{next(iter(first), 'KEY')}"
        raise UserError(f"{where}: holds {_NAMED[most]}; name what is in it, such as '{item}'")
    kind = _media_kind(sample)
    if is_target and kind:
        raise UserError(f"{where}: holds {kind}s; targets are text or classes, so a {kind} can only be the input")
    if kind:
        return Column(name, kind, most)
    if is_target and any(isinstance(value, float) and not value.is_integer() for value in sample):
        raise UserError(f"{where}: holds numbers with fractions; targets are text or classes (:text learns the digits)")
    return Column(name, "class" if is_target and _are_classes(sample) else "text", most)


def value_type(value: Any) -> str:
    """The type of a value: "text", "number", "bytes", "list" or "object"; "" if there is none."""
    if is_media(value):
        return "bytes" if value["bytes"] else value_type(value["path"])
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        return ""
    return _TYPES.get(type(value), "object")


def _media_kind(sample: list[Any]) -> str:
    """ "picture" or "sound" if at least half of the values are such by their suffix or first bytes; else ""."""
    kinds = Counter(map(_one_media_kind, sample))
    kind, count = kinds.most_common(1)[0]
    return kind if 2 * count >= len(sample) else ""


def _one_media_kind(value: Any) -> str:
    if isinstance(value, dict):
        value = value["bytes"] or value["path"]
    if isinstance(value, bytes):
        return "sound" if value.startswith(_SOUND_STARTS) and value[8:12] != b"WEBP" else "picture"
    if not isinstance(value, str) or "\n" in value:
        return ""
    suffix = PurePath(value).suffix.lower()
    return "picture" if suffix in picture_suffixes() else "sound" if suffix in SOUND_SUFFIXES else ""


def _are_classes(sample: list[Any]) -> bool:
    """Whether values repeat as classes do: at most as many different ones as half of a few, or a fifth of many."""
    different = {str(value) for value in sample}
    most = max(2, len(sample) // 5) if len(sample) > 3 else 1
    return len(different) <= most and max(map(len, different)) <= _LONGEST_CLASS


def _media(value: Any, where: str, folders: Sequence[Path]) -> Path | bytes:
    if isinstance(value, dict):
        value = value["bytes"] or value["path"]
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise UserError(f"{where}: {_NAMED[value_type(value)]}, expected the path or the bytes of a file")
    for path in (folder / value.strip() for folder in folders):
        try:
            if path.is_file():
                return path
        except OSError:  # a name that is too long
            continue
    raise UserError(f"{where}: no file {printable(folders[0] / value.strip())[:200]}")
