"""Problems on tables of the user's own, whose columns and kinds are named or guessed."""

import dataclasses
import itertools
import json
import os
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from t2t_lite import registry
from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.escapes import printable
from t2t_lite.media.sound_files import read_sound
from t2t_lite.problems.column_kinds import KINDS, Column, guess, value_type
from t2t_lite.problems.features import Audio, Feature, Label, Text
from t2t_lite.problems.files import held_out_hint
from t2t_lite.problems.problem import Problem
from t2t_lite.problems.tables import check_column, column_names, find_tables, is_media, lookup, read_rows

__all__ = ["KINDS", "TableFiles"]

_SETTINGS = "table.yaml"
_KEYS = ("inputs", "targets", "command", "metrics", "folder")
_SAMPLE_ROWS = 1000  # rows by which kinds are guessed
# Names by which columns are known to be inputs or targets. Text is the input unless there is a picture or a sound.
_MEDIA = ("image", "photo", "audio", "file", "path", "jpg", "jpeg", "png", "webp", "wav", "flac", "mp3")
_TEXTS = ("text", "sentence", "txt")
_INPUTS = ("inputs", "input", "question", "source")
_TARGETS = ("targets", "target", "answer", "label", "class", "cls", "caption", "transcription", "summary", "output")


@registry.problems.register
class TableFiles(Problem):
    """Your own tables: train.*, dev.* as JSONL, CSV, TSV, Parquet, Hugging Face's Arrow or WebDataset tar files.

    Two columns become inputs and targets. They are named by `requested` (--columns) or by table.yaml beside the tables:

        inputs: {column: photo, kind: picture, rows: 64, columns: 64}
        targets: species
        command: classify
        metrics: []
        folder: ~/datasets/birds     # where the tables are, if not here

    All keys may be left out. Without `kind` it is guessed: text, class, picture or sound. Further keys of inputs and
    targets are fields of the feature (problems/features.py).

    Attributes:
      requested: the columns as the user named them: {"inputs": {"column": ..., "kind": ...}, "targets": ...}.
      columns: the columns with their kinds, after `resolve` or `adopt`.
      settings_crc: the checksum of what table.yaml says, after `resolve`; the manifest keeps it.
    """

    inputs: Feature = Text()
    targets: Feature = Text()
    command = "answer"
    needs_source = True

    def __init__(self, name: str):
        super().__init__(name)
        self.requested: dict[str, dict[str, Any]] = {}
        self.columns: dict[str, Column] = {}
        self.settings_crc = ""

    def resolve(self, raw_dir: Path) -> None:
        """Finds the tables and decides what their columns are."""
        if self.columns:  # known from a stored declaration
            return
        settings = _read_settings(raw_dir / _SETTINGS)
        self.settings_crc = _checksum(settings)
        tables = self._tables(raw_dir)
        table = tables["train"][0]
        names = column_names(table)
        wanted = {key: {**settings.get(key, {}), **self.requested.get(key, {})} for key in ("inputs", "targets")}
        for key, column in zip(("inputs", "targets"), self._default_columns(wanted, names, table), strict=True):
            wanted[key].setdefault("column", column)
            check_column(wanted[key]["column"], names, table)
        self.columns = self._find_kinds(wanted, table)
        self.inputs, self.targets = (_feature(wanted[key], self.columns[key]) for key in ("inputs", "targets"))
        self.command = settings.get("command") or ("classify" if isinstance(self.targets, Label) else "answer")
        self.metrics = tuple(settings["metrics"]) if "metrics" in settings else self._default_metrics()
        self._print_guess(tables)

    def declaration(self) -> dict[str, Any]:
        """Returns also the columns and the metrics, if they are known."""
        if not self.columns:
            return super().declaration()
        columns = {key: dataclasses.asdict(column) for key, column in self.columns.items()}
        return super().declaration() | {"columns": columns, "metrics": list(self.metrics)}

    def adopt(self, declaration: dict[str, Any]) -> None:
        """Restores also the columns and the metrics."""
        super().adopt(declaration)
        self.columns = {key: Column(**stored) for key, stored in declaration.get("columns", {}).items()}
        self.metrics = tuple(declaration.get("metrics", ()))

    def differs(self, declaration: dict[str, Any]) -> bool:
        """Whether a stored declaration has other columns than the user named."""
        stored = declaration.get("columns", {})
        return any(
            stored.get(key, {}).get("name") != named["column"]
            or ("kind" in named and stored[key]["kind"] != named["kind"])
            for key, named in self.requested.items()
        )

    def settings_differ(self, settings_crc: str | None, raw_dir: Path) -> bool:
        """Whether table.yaml says something else than at a checksum; no, if that or the folder of tables is missing."""
        return (
            bool(settings_crc) and raw_dir.is_dir() and settings_crc != _checksum(_read_settings(raw_dir / _SETTINGS))
        )

    def is_source(self, name: str) -> bool:
        """All files of the folder may be tables, or what tables name."""
        return True

    def has_dev(self, raw_dir: Path) -> bool:
        """Whether there is a table for the dev split."""
        return "dev" in self._tables(raw_dir)

    def has_test(self, raw_dir: Path) -> bool:
        """Whether there are tables for the dev and the test split."""
        return {"dev", "test"} <= self._tables(raw_dir).keys()

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the two values of each row, and where it stands; skips rows in which both are empty."""
        tables = self._tables(raw_dir)
        if split not in tables:
            beside = printable(tables["train"][0])
            raise UserError(f"problem '{self.name}': no table for '{split}' beside {beside}{held_out_hint(split)}")
        needed = [column.name for column in self.columns.values()]
        for path in tables[split]:
            if path is tables[split][0] and split != "train":
                for name in needed:
                    check_column(name, column_names(path), path)
            folders = (path.parent, self._folder(raw_dir))
            for row in read_rows(path, needed):
                example = row if isinstance(row, UserError) else self._example(*row, folders)
                if example is not None:
                    yield example

    def convert(self, item: dict[str, Any]) -> dict[str, Any]:
        """Replaces a sound file by a function that reads it."""
        if isinstance(self.inputs, Audio):
            return {**item, "inputs": partial(read_sound, item["inputs"], self.inputs.sample_rate)}
        return item

    def _example(self, where: str, values: dict[str, Any], folders: tuple[Path, ...]) -> Any:
        raw = {key: lookup(values, column.name) for key, column in self.columns.items()}
        if not any(map(value_type, raw.values())):
            return None
        try:
            example = {key: column.value(raw[key], where, folders) for key, column in self.columns.items()}
        except UserError as e:
            return e
        return {**example, "where": where}

    def _tables(self, raw_dir: Path) -> dict[str, list[Path]]:
        """{split: files in order}."""
        try:
            return find_tables(self._folder(raw_dir))
        except UserError as e:
            raise UserError(f"problem '{self.name}': {e}") from e

    def _folder(self, raw_dir: Path) -> Path:
        """The folder of the tables: that of the raw files, or the one that table.yaml names."""
        return raw_dir / os.path.expanduser(_read_settings(raw_dir / _SETTINGS).get("folder", ""))

    def _default_columns(self, wanted: dict[str, dict[str, Any]], names: list[str], table: Path) -> tuple[str, str]:
        """The columns of inputs and targets, for those that the user does not name."""
        free = [name for name in names if name not in [spec.get("column") for spec in wanted.values()]]
        has_media = any(name.lower() in _MEDIA for name in names)
        known = {
            "inputs": (*_MEDIA, *_INPUTS, *(() if has_media else _TEXTS)),
            "targets": (*_TARGETS, *(_TEXTS if has_media else ())),
        }
        inputs, targets = (
            [wanted[key]["column"]]
            if "column" in wanted[key]
            else [name for name in free if name.lower() in known[key]]
            for key in ("inputs", "targets")
        )
        others = [name for name in free if name not in (*inputs, *targets)]
        if len(names) == 2 and len(inputs) < 2 and len(targets) < 2:  # what is not one of them is the other
            inputs, targets = inputs or (others[:1] if targets else names[:1]), targets or others[-1:]
        if len(inputs) != 1 or len(targets) != 1:
            raise UserError(
                f"problem '{self.name}': {printable(table)} has the columns {', '.join(names)}: name two of them: "
                "--columns=inputs:COLUMN,targets:COLUMN"
            )
        return inputs[0], targets[0]

    def _find_kinds(self, wanted: dict[str, dict[str, Any]], table: Path) -> dict[str, Column]:
        """The columns with the kinds that the user names, or those guessed from the first rows."""
        needed = [spec["column"] for spec in wanted.values()]
        rows: list[tuple[str, dict[str, Any]]] = []
        for row in itertools.islice(read_rows(table, needed), _SAMPLE_ROWS):
            if not isinstance(row, UserError):
                rows.append((row[0], {name: _head(lookup(row[1], name)) for name in needed}))
        if not rows:
            raise UserError(f"{printable(table)}: none of its first rows can be read, or has both columns")
        columns = {}
        for key, spec in wanted.items():
            name, kind = spec["column"], spec.get("kind")
            columns[key] = (
                Column(name, kind) if kind else guess(name, [(w, v[name]) for w, v in rows], key == "targets")
            )
            if columns[key].kind in (("class",) if key == "inputs" else ("picture", "sound")):
                raise UserError(f"problem '{self.name}': {key} cannot be of kind {columns[key].kind}")
        return columns

    def _default_metrics(self) -> tuple[str, ...]:
        if isinstance(self.targets, Label):
            return ()
        by_kind = {"sound": ("wer", "cer"), "picture": ("bleu", "cider_d")}
        return by_kind.get(self.columns["inputs"].kind, ("bleu", "chrf"))

    def _print_guess(self, tables: dict[str, list[Path]]) -> None:
        kinds = ", ".join(f"{key} '{column.name}' ({column.kind})" for key, column in self.columns.items())
        files = "; ".join(
            f"{split} from {printable(paths[0].name)}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
            for split, paths in tables.items()
            if split in self.splits
        )
        flag = ",".join(f"{key}:{column.name}:{column.kind}" for key, column in self.columns.items())
        guessed = f"; to change it: --columns={flag}" if any(column.type for column in self.columns.values()) else ""
        self.print_once(f"{self.name}: {kinds}; {files}{guessed}")


def _head(value: Any) -> Any:
    """The part of a value by which its kind is guessed, so that the sample holds no large files."""
    if is_media(value) and value["bytes"]:
        return value["bytes"][:16]
    return value[:16] if isinstance(value, bytes) else value


def _read_settings(path: Path) -> dict[str, Any]:
    """Reads table.yaml; {} if there is none.

    Raises:
      UserError: it is not YAML, or a key or value is not known.
    """
    name = printable(path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf8")) or {}
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise UserError(f"{name}: cannot be read: {e.strerror}") from e
    except (yaml.YAMLError, ValueError) as e:
        mark = getattr(e, "problem_mark", None)
        raise UserError(f"{name}{f':{mark.line + 1}' if mark else ''}: not YAML ({getattr(e, 'problem', e)})") from e
    if not isinstance(settings, dict):
        raise UserError(f"{name}: expected lines KEY: VALUE with the keys {', '.join(_KEYS)}")
    for key, value in settings.items():
        if key not in _KEYS:
            raise UserError(f"{name}: unknown key '{key}'{did_you_mean(str(key), _KEYS)}")
        if key in ("inputs", "targets"):
            settings[key] = _column_settings(value, f"{name}: {key}")
        elif key == "metrics":
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise UserError(f"{name}: metrics: expected a list of names such as [bleu, chrf]")
            for each in value:
                if each not in registry.metrics:
                    raise UserError(f"{name}: {registry.unknown('metric', each, registry.metrics)}")
        elif not isinstance(value, str):
            raise UserError(f"{name}: {key}: expected text, got {value!r}")
    return settings


def _checksum(settings: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(settings, sort_keys=True, default=str).encode()):08x}"


def _column_settings(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        return {"column": value}
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected the name of a column, or {{column: NAME, kind: KIND}}; got {value!r}")
    for key in ("column", "kind"):
        if key in value and not isinstance(value[key], str):
            raise UserError(f"{where}: {key}: expected text, got {value[key]!r}; put it in quotes")
    if "kind" in value and value["kind"] not in KINDS:
        raise UserError(f"{where}: unknown kind '{value['kind']}'{did_you_mean(value['kind'], KINDS)}")
    return value


def _feature(spec: dict[str, Any], column: Column) -> Feature:
    """The feature of a column, with the fields that table.yaml gives it."""
    kind = KINDS[column.kind]
    options = {key: value for key, value in spec.items() if key not in ("column", "kind")}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in options.items():
        where = f"{_SETTINGS}: column '{column.name}' ({column.kind})"
        if key not in fields:
            raise UserError(f"{where}: unknown key '{key}'{did_you_mean(key, fields)}")
        default = fields[key].default
        if isinstance(default, tuple) and isinstance(value, list):
            options[key] = tuple(map(str, value))
        elif type(value) is not type(default) and not (isinstance(default, float) and isinstance(value, int)):
            raise UserError(f"{where}: {key}: expected such as {default!r}, got {value!r}")
    return kind(**options)
