"""Checks the files of a data folder against its manifests, every byte of every file, and the PNG pictures in them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from t2t_lite.data.manifest import Manifest, Shard, Split, file_crc32, manifest_path
from t2t_lite.data.record_index import check, index_path
from t2t_lite.data.records import DamageError, parse, read_records
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError
from t2t_lite.media.picture_files import PNG, image_bytes
from t2t_lite.problems.features import Image, input_features, inputs_from_dict
from t2t_lite.progress import print_status

_FILE = re.compile(r"(.+)-\w+(?:-\d{5}-of-\d{5}|\.index)")  # a shard or an index


def verify(data_dir: Path, names: Sequence[str] = ()) -> list[str]:
    """Reads all files of the problems in a folder, compares them with the manifests and decodes PNG pictures.

    Args:
      data_dir: the folder.
      names: the problems to check; by default all that have a manifest there.

    Returns:
      A line for each problem.

    Raises:
      UserError: a file is missing or damaged, or no manifest names it, or a picture cannot be decoded. All faults are
        listed on standard error.
    """
    checked = list(names) or [path.name.removesuffix(".manifest.json") for path in _manifests(data_dir)]
    if not checked:
        raise UserError(f"--data_dir: no manifest in {data_dir}: nothing was generated there")
    reports, faults = [], []
    for name in checked:
        problem_faults = list(_check_problem(data_dir, name))
        faults += problem_faults
        if not problem_faults:
            splits = Manifest.read(data_dir, name).splits.values()
            files, examples = sum(len(split.shards) for split in splits), sum(split.examples for split in splits)
            reports.append(f"{name}: complete: {files} files, {examples:,} examples")
    if not names:
        orphans = {
            path.name for path in data_dir.iterdir() if (file := _FILE.fullmatch(path.name)) and file[1] not in checked
        }
        faults += [f"{data_dir / orphan}: extra: no manifest names it" for orphan in sorted(orphans)]
    for fault in faults[1:]:
        print_status(fault)
    if faults:
        more = f" (and {len(faults) - 1} more, listed above)" if len(faults) > 1 else ""
        raise UserError(f"{faults[0]}{more}; delete the damaged and extra files and run t2t-datagen again")
    return reports


def _check_problem(data_dir: Path, name: str) -> Iterator[str]:
    """Yields one line for each fault in the files of a problem."""
    try:
        manifest = Manifest.read(data_dir, name)
    except UserError as e:
        yield str(e)
        return
    named = set()
    for split_name, split in manifest.splits.items():
        index = index_path(data_dir, name, split_name)
        named |= {index.name, *(shard.name for shard in split.shards)}
        if index.exists() and (fault := check(index, split.shards, split.examples)):
            yield fault
        yield from _check_split(data_dir, split_name, split, manifest)
    for path in sorted(data_dir.iterdir()):
        file = _FILE.fullmatch(path.name)
        if file and file[1] == name and path.name not in named:
            yield f"{path}: extra: the manifest does not name it"
    for vocab, checksum in manifest.vocabularies.items():
        path = vocabulary_path(data_dir, vocab)
        try:
            if Vocabulary.load(path).checksum != checksum:
                yield f"{path}: has changed since problem '{name}' was encoded with it"
        except UserError as e:
            yield str(e)


def _check_split(data_dir: Path, name: str, split: Split, manifest: Manifest) -> Iterator[str]:
    """Yields one line for each fault in the shards of a split."""
    examples, damaged = 0, False
    pictures = [
        key
        for key, feature in input_features(inputs_from_dict(manifest.declaration["inputs"])).items()
        if isinstance(feature, Image)
    ]
    for shard in split.shards:
        fault = check_shard(data_dir / shard.name, shard)
        if fault:
            damaged = True
            yield fault
        else:
            for number, record in enumerate(read_records(data_dir / shard.name)):
                examples += 1
                for key in pictures:
                    if error := _check_picture(parse(record)[key]):
                        yield f"{data_dir / shard.name}: record {number}, {key}: {error}"
    if not damaged and examples != split.examples:
        path = manifest_path(data_dir, manifest.problem)
        yield f"{path}: says {split.examples} examples of split '{name}', the files have {examples}"


def _check_picture(content: Any) -> str:
    """Returns what is wrong with a stored PNG picture; "" for others.

    Old versions stored damaged PNG files that Pillow opens and TensorFlow does not. There are no such JPEG files.
    """
    try:
        if content.startswith(PNG):
            image_bytes(content)
    except UserError as e:
        return str(e)
    return ""


def check_shard(path: Path, shard: Shard) -> str:
    """Returns what is wrong with a file; "" if it is as the manifest says."""
    if not path.exists():
        return f"{path}: missing"
    if path.stat().st_size != shard.bytes:
        return f"{path}: {path.stat().st_size} bytes, the manifest says {shard.bytes}"
    if file_crc32(path) != shard.crc32:
        return f"{path}: damaged{_damaged_record(path)}"
    return ""


def _damaged_record(path: Path) -> str:
    """Where a file is damaged, as words that follow "damaged"."""
    try:
        for _ in read_records(path):
            pass
    except DamageError as e:
        return f" in record {e.number}, which begins at byte {e.offset}"
    return ": its records are not those that were written"


def _manifests(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("*.manifest.json"))
