"""Checking a data folder against its manifests: every byte of every file."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from t2t_lite.data.manifest import Manifest, Shard, Split, file_crc32, manifest_path
from t2t_lite.data.records import DamageError, read_records
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError
from t2t_lite.progress import print_status

_SHARD = re.compile(r"(.+)-\w+-\d{5}-of-\d{5}")


def verify(data_dir: Path, names: Sequence[str] = ()) -> list[str]:
    """Reads all files that the manifests of a folder name, and compares them.

    Args:
      data_dir: the folder.
      names: the problems to check; by default all whose manifests are there.

    Returns:
      A line for each problem that is whole.

    Raises:
      UserError: a file is missing, damaged or not named by any manifest. Every such file is named on standard error.
    """
    checked = list(names) or [path.name.removesuffix(".manifest.json") for path in _manifests(data_dir)]
    if not checked:
        raise UserError(f"--data_dir: no manifest in {data_dir}: nothing was generated there")
    whole, wrong = [], []
    for name in checked:
        found = list(_wrong_files(data_dir, name))
        wrong += found
        if not found:
            splits = Manifest.read(data_dir, name).splits.values()
            files, examples = sum(len(split.shards) for split in splits), sum(split.examples for split in splits)
            whole.append(f"{name}: whole: {files} files, {examples:,} examples")
    if not names:
        orphans = {
            path.name
            for path in data_dir.iterdir()
            if (shard := _SHARD.fullmatch(path.name)) and shard[1] not in checked
        }
        wrong += [f"{data_dir / orphan}: extra: no manifest names it" for orphan in sorted(orphans)]
    for line in wrong[1:]:
        print_status(line)
    if wrong:
        more = f" (and {len(wrong) - 1} more, named above)" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}; delete what is damaged or extra, and run t2t-datagen again")
    return whole


def _wrong_files(data_dir: Path, name: str) -> Iterator[str]:
    """Yields what is wrong with the files of a problem, a line each."""
    try:
        manifest = Manifest.read(data_dir, name)
    except UserError as e:
        yield str(e)
        return
    named = set()
    for split_name, split in manifest.splits.items():
        named |= {shard.name for shard in split.shards}
        yield from _wrong_shards(data_dir, split_name, split, manifest_path(data_dir, name))
    for path in sorted(data_dir.iterdir()):
        shard = _SHARD.fullmatch(path.name)
        if shard and shard[1] == name and path.name not in named:
            yield f"{path}: extra: the manifest does not name it"
    for vocab, checksum in manifest.vocabularies.items():
        path = vocabulary_path(data_dir, vocab)
        try:
            if Vocabulary.load(path).checksum != checksum:
                yield f"{path}: has changed since problem '{name}' was stored in it"
        except UserError as e:
            yield str(e)


def _wrong_shards(data_dir: Path, name: str, split: Split, manifest: Path) -> Iterator[str]:
    examples, wrong = 0, False
    for shard in split.shards:
        told = wrong_shard(data_dir / shard.name, shard)
        if told:
            wrong = True
            yield told
        else:
            examples += sum(1 for _ in read_records(data_dir / shard.name))
    if not wrong and examples != split.examples:
        yield f"{manifest}: says {split.examples} examples of split '{name}', the files have {examples}"


def wrong_shard(path: Path, shard: Shard) -> str:
    """What is wrong with a file; empty where nothing is."""
    if not path.exists():
        return f"{path}: missing"
    if path.stat().st_size != shard.bytes:
        return f"{path}: {path.stat().st_size} bytes, the manifest says {shard.bytes}"
    if file_crc32(path) != shard.crc32:
        return f"{path}: damaged{_damage(path)}"
    return ""


def _damage(path: Path) -> str:
    """Where a file of records is damaged, as words to follow "damaged"."""
    try:
        for _ in read_records(path):
            pass
    except DamageError as e:
        return f" in record {e.number}, which begins at byte {e.offset}"
    return ": it holds other records than were written"


def _manifests(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("*.manifest.json"))
