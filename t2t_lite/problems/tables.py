"""Reads tables of the user's own: JSONL, CSV, TSV, Parquet, Arrow (Hugging Face datasets) and WebDataset tar files.

A row is (where it stands, {column: value}). Parquet and Arrow need pyarrow, from the extra `tables`.
"""

import csv
import itertools
import json
import re
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.escapes import printable
from t2t_lite.media.picture_files import picture_suffixes
from t2t_lite.problems.files import is_hidden, try_lines

Row = tuple[str, dict[str, Any]]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".tar")
LAYOUT = f"expected train.* and dev.* (or validation.*, test.*), with one of {', '.join(SUFFIXES)}"
# "test" serves as dev if there is no other.
_SPLIT_NAMES = {"train": ("train", "training"), "dev": ("dev", "validation", "valid", "val", "test"), "test": ("test",)}
_STATE_FILES = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}  # Hugging Face's own
SOUND_SUFFIXES = frozenset(
    (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".sph", ".wav", ".wv1")
)
_BATCH = 256  # rows of Parquet or Arrow made Python values at a time
_NAMED_ROWS = 20  # rows whose columns are listed, for tables without a header


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """Returns {split: its files in order} for "train" and, if there are any, "dev" and "test" beside dev.

    A split is a file (`train.csv`, `train-00000-of-00002.parquet`, `NAME-train.arrow`) or a folder of files. If no name
    tells a split, and all files are one table, they are the training split.

    Raises:
      UserError: there is no training table, or a split has files of several formats.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {printable(folder)}: {LAYOUT}")
    tables = {}
    for split, names in _SPLIT_NAMES.items():
        for name in names:
            if files := _split_files(folder, name):
                tables[split] = files
                break
    if tables.get("test") == tables.get("dev"):
        tables.pop("test", None)
    if "train" not in tables:
        files = [path for path in _table_files(folder) if not any(path in table for table in tables.values())]
        stems = {re.sub(r"\d+", "0", path.name) for path in files}
        if len(stems) != 1:
            found = f"found {', '.join(printable(path.name) for path in files[:5])}" if files else "no table"
            raise UserError(f"{printable(folder)}: {found}: {LAYOUT}")
        tables["train"] = files
    for split, files in tables.items():
        formats = {path.suffix for path in files}
        if len(formats) > 1:
            listed = " and ".join(printable(next(p for p in files if p.suffix == each)) for each in sorted(formats))
            raise UserError(f"split '{split}' has tables of several formats, {listed}; keep one")
    return tables


def _split_files(folder: Path, name: str) -> list[Path]:
    if (folder / name).is_dir():
        return _table_files(folder / name)
    pattern = re.compile(rf"(?:.*[-_.])?{name}(?:[-_.]?\d[-\w]*)?")
    return [path for path in _table_files(folder) if pattern.fullmatch(path.stem)]


def _table_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not is_hidden(path.name)
        and path.name not in _STATE_FILES
        and not (path.suffix == ".arrow" and path.name.startswith("cache-"))
    )


def read_rows(path: Path, columns: Collection[str] | None = None) -> Iterator[Row | UserError]:
    """Yields the rows of a table, and an error that names file and line in place of a broken row.

    Args:
      path: the file.
      columns: the columns needed, such as "text" or "answers.text.0"; None for all.

    Raises:
      UserError: the file cannot be read, or its header is wrong.
    """
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from _read_csv(path)
    elif suffix == ".parquet":
        yield from _read_parquet(path, columns)
    elif suffix == ".arrow":
        yield from _read_arrow(path, columns)
    elif suffix == ".tar":
        yield from _read_tar(path, columns)
    else:
        yield from _read_json(path)


def column_names(path: Path) -> list[str]:
    """Returns the columns of a table; those of objects within objects as "answer.text".

    Raises:
      UserError: the file cannot be read, or it has no rows.
    """
    names: dict[str, None] = {}
    rows = (row for row in read_rows(path) if not isinstance(row, UserError))
    for _, values in itertools.islice(rows, _NAMED_ROWS):
        names |= dict.fromkeys(_flat_names(values))
    if not names:
        raise UserError(f"{printable(path)}: an empty table")
    return list(names)


def _flat_names(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and not is_media(value):
            yield from _flat_names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def check_column(name: str, known: Collection[str], path: Path) -> None:
    """Raises UserError, with the nearest name, if a table has no such column."""
    if name not in known and name.partition(".")[0] not in {each.partition(".")[0] for each in known}:
        raise UserError(f"{printable(path)}: no column '{name}'{did_you_mean(name, known)}")


def lookup(values: dict[str, Any], column: str) -> Any:
    """Returns the value of a column, or None. "answers.text.0" is the first item of the list `text` of `answers`."""
    if column in values:
        return values[column]
    value: Any = values
    for part in column.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def is_media(value: Any) -> bool:
    """Whether a value is a picture or sound as Hugging Face stores it: its bytes, or its path."""
    return isinstance(value, dict) and value.keys() == {"bytes", "path"}


def _read_json(path: Path) -> Iterator[Row | UserError]:
    """JSON, an object a line, or one list of objects."""
    name = printable(path)
    lines = try_lines(path)
    first = next((line for line in lines if line), "")
    if isinstance(first, str) and first.startswith("["):
        yield from _read_json_list(path)
        return
    for number, line in enumerate(try_lines(path), 1):
        if isinstance(line, UserError):
            yield line
        elif line:
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as e:
                yield UserError(f"{name}:{number}: not JSON ({e}); expected one object a line, or one list of objects")
                continue
            yield _json_row(values, f"{name}:{number}")


def _read_json_list(path: Path) -> Iterator[Row | UserError]:
    name = printable(path)
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise UserError(f"{name}: not JSON ({e})") from e
    for number, values in enumerate(rows, 1):
        yield _json_row(values, f"{name}, item {number}")


def _json_row(values: Any, where: str) -> Row | UserError:
    if not isinstance(values, dict):
        return UserError(f'{where}: expected an object such as {{"text": ...}}, got {json.dumps(values)[:60]}')
    return where, values


def _read_csv(path: Path) -> Iterator[Row | UserError]:
    """CSV with a header and quotes as RFC 4180 has them; TSV, whose quotes are text unless they are doubled inside."""
    name = printable(path)
    not_utf8: list[UserError] = []
    records = _tsv_records(path, not_utf8) if path.suffix.lower() == ".tsv" else _csv_records(path, not_utf8)
    header: list[str] = []
    for number, fields in records:
        if not_utf8:  # on a line of this record
            yield from not_utf8
            not_utf8.clear()
        elif isinstance(fields, csv.Error):
            yield UserError(f"{name}:{number}: not CSV: {fields}")
        elif not any(fields):
            continue
        elif not header:
            header = [field.strip() for field in fields]
            if repeated := sorted({field for field in header if field and header.count(field) > 1}):
                raise UserError(f"{name}:{number}: two columns are named '{repeated[0]}'; rename one")
        elif len(fields) != len(header):
            yield UserError(f"{name}:{number}: {len(fields)} fields, but the header has {len(header)}")
        else:
            yield f"{name}:{number}", dict(zip(header, fields, strict=True))


_Record = tuple[int, list[str] | csv.Error]  # the line on which it begins, and its fields


def _csv_records(path: Path, not_utf8: list[UserError]) -> Iterator[_Record]:
    """The separator is a comma, or a semicolon or tab if the header has no comma."""
    header = next((line for line in try_lines(path) if isinstance(line, str) and line), "")
    delimiter = next((each for each in ",;\t" if each in header), ",")
    csv.field_size_limit(1 << 31)
    lines = (f"{line}\n" for line in _utf8_lines(path, not_utf8))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except csv.Error as e:
            yield number, e
        except StopIteration:
            return


def _tsv_records(path: Path, not_utf8: list[UserError]) -> Iterator[_Record]:
    for number, line in enumerate(_utf8_lines(path, not_utf8), 1):
        yield number, [_unquoted(field) for field in line.split("\t")]


def _unquoted(field: str) -> str:
    """Removes the quotes that programs put around a field in which they doubled quotes."""
    inner = field[1:-1]
    if len(field) > 3 and field[0] == field[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


def _utf8_lines(path: Path, not_utf8: list[UserError]) -> Iterator[str]:
    """Yields the lines; an empty one in place of a line that is not UTF-8, which goes to `not_utf8`."""
    for line in try_lines(path, strip=False):
        if isinstance(line, UserError):
            not_utf8.append(line)
            yield ""
        else:
            yield line


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as e:
        raise UserError(f'{printable(path)}: reading it needs pyarrow: pip install "t2t_lite[tables]"') from e
    return pyarrow


def _read_parquet(path: Path, columns: Collection[str] | None) -> Iterator[Row]:
    pyarrow = _pyarrow(path)
    try:
        with path.open("rb") as content, pyarrow.parquet.ParquetFile(content) as file:
            names = _top_columns(file.schema_arrow.names, columns)
            batches = file.iter_batches(batch_size=_BATCH, columns=names)
            yield from _arrow_rows(path, file.schema_arrow, batches)
    except (pyarrow.ArrowException, OSError) as e:
        raise UserError(f"{printable(path)}: not a readable Parquet file ({_first_line(e)})") from e


def _read_arrow(path: Path, columns: Collection[str] | None) -> Iterator[Row]:
    """An Arrow stream, which Hugging Face's datasets are stored as, or an Arrow file."""
    pyarrow = _pyarrow(path)
    try:
        with path.open("rb") as source:
            if source.read(6) == b"ARROW1":
                reader = pyarrow.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                source.seek(0)
                batches = reader = pyarrow.ipc.open_stream(source)
            names = _top_columns(reader.schema.names, columns)
            parts = (
                batch.select(names).slice(start, _BATCH)
                for batch in batches
                for start in range(0, batch.num_rows, _BATCH)
            )
            yield from _arrow_rows(path, reader.schema, parts)
    except (pyarrow.ArrowException, OSError) as e:
        raise UserError(f"{printable(path)}: not a readable Arrow file ({_first_line(e)})") from e


def _top_columns(names: list[str], columns: Collection[str] | None) -> list[str]:
    """The columns to read: "answers" for "answers.text"."""
    if columns is None:
        return names
    return [name for name in names if any(c == name or c.startswith(f"{name}.") for c in columns)]


def _arrow_rows(path: Path, schema: Any, batches: Any) -> Iterator[Row]:
    """The rows of record batches; classes by the names that Hugging Face stores in the schema."""
    stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = stored.get("info", {}).get("features", {})
    classes = {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
    number = 0
    for batch in batches:
        for values in batch.to_pylist():
            number += 1
            for name, known in classes.items():
                index = values.get(name)
                if index is not None:
                    values[name] = known[index] if 0 <= index < len(known) else None
            yield f"{printable(path)}, row {number}", values


def _read_tar(path: Path, columns: Collection[str] | None) -> Iterator[Row | UserError]:
    """WebDataset: consecutive members with one name are a row, their suffixes its columns."""
    wanted = set(columns or ()) | {column.partition(".")[0] for column in columns or ()}
    key, values = "", dict[str, Any]()
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        if path.stat().st_size % tarfile.BLOCKSIZE and not is_packed:  # tarfile ends at such a cut without an error
            raise UserError(f"{printable(path)}: cut off within a block of {tarfile.BLOCKSIZE} bytes; copy it again")
        with tarfile.open(path) as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, dot, suffix = base.partition(".")
                if not member.isfile() or any(map(is_hidden, member.name.removeprefix("./").split("/"))) or not dot:
                    continue
                suffix = suffix.lower()
                if values and f"{folder}/{stem}" != key:
                    yield from _tar_row(path, key, values, columns)
                    values = {}
                key = f"{folder}/{stem}"
                content = tar.extractfile(member) if columns is None or suffix in wanted else None
                values[suffix] = _tar_value(suffix, content.read()) if content else None
    except (tarfile.TarError, EOFError, OSError) as e:
        raise UserError(f"{printable(path)}: not a readable tar file ({_first_line(e)})") from e
    if values:
        yield from _tar_row(path, key, values, columns)


def _tar_row(
    path: Path, key: str, values: dict[str, Any], columns: Collection[str] | None
) -> Iterator[Row | UserError]:
    """Yields the row of members, or an error if only some of the columns are there; nothing if none is."""
    where = f"{printable(path)}, {printable(key.removeprefix('/').removeprefix('./'))}"
    missing = [each for each in columns or () if each not in values and each.partition(".")[0] not in values]
    if not missing:
        yield f"{where}.*", values
    elif len(missing) < len(set(columns or ())):
        yield UserError(f"{where}: no member .{missing[0]} beside {', '.join(f'.{suffix}' for suffix in values)}")


def _tar_value(suffix: str, content: bytes) -> Any:
    last = "." + suffix.rpartition(".")[2]
    if last in picture_suffixes() or last in SOUND_SUFFIXES:
        return content
    try:
        text = content.decode("utf8").strip()
        return json.loads(text) if last == ".json" else text
    except ValueError:
        return content


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0]
