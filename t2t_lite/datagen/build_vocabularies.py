"""Builds the vocabularies that problems share, and checks that their declarations agree."""

import itertools
import json
import os
from collections.abc import Collection
from pathlib import Path

from t2t_lite.data.manifest import write_atomically
from t2t_lite.data.vocabulary import BYTES, Vocabulary, vocabulary_path
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Text, from_dict, inputs_from_dict, parts
from t2t_lite.progress import print_status


def check_sizes(jobs: list[Job], data_dir: Path) -> None:
    """Raises UserError if problems, to be generated or already stored, declare one vocabulary with several sizes."""
    declared: dict[str, dict[int, str]] = {}  # vocabulary -> size -> a problem that declares it
    for job in jobs:
        for text in job.texts.values():
            declared.setdefault(text.vocab, {}).setdefault(text.vocab_size, f"'{job.name}'")
    named = {job.name for job in jobs}
    for path in sorted(data_dir.glob("*.manifest.json")):
        for name, text in _stored_texts(path):
            # The old declaration of a problem that is generated again counts only while its vocabulary exists.
            if name not in named or vocabulary_path(data_dir, text.vocab).exists():
                declared.setdefault(text.vocab, {}).setdefault(text.vocab_size, f"'{name}' (stored in {data_dir})")
    for vocab, sizes in declared.items():
        if len(sizes) > 1:
            listed = ", ".join(f"{size} by {problem}" for size, problem in sizes.items())
            path = vocabulary_path(data_dir, vocab)
            rebuild = f", or delete {path} to build it again" if path.exists() else ""
            raise UserError(
                f"vocabulary '{vocab}' is declared with different sizes: {listed}; "
                f"give it one size or two names{rebuild}"
            )


def provide(jobs: list[Job], data_dir: Path) -> set[str]:
    """Writes the vocabularies that are not built from text: the user's own models (vocab_file) and the bytes.

    Returns:
      The names of all that the jobs use.

    Raises:
      UserError: a model cannot be read, or a vocabulary of its name exists already and differs from it, or two models
        have the same name.
    """
    files: dict[str, str] = {}
    for text in (text for job in jobs for text in job.texts.values()):
        if text.vocab_file and files.setdefault(text.vocab, text.vocab_file) != text.vocab_file:
            raise UserError(
                f"vocabulary '{text.vocab}' is declared with two files, {files[text.vocab]} and {text.vocab_file}: "
                "name it too, as Text(vocab=..., vocab_file=...)"
            )
    if any(text.vocab == BYTES for job in jobs for text in job.texts.values()):
        files.setdefault(BYTES, "")
    for name, file in files.items():
        path = vocabulary_path(data_dir, name)
        vocabulary = Vocabulary.from_user_file(Path(os.path.expanduser(file))) if file else Vocabulary.of_bytes()
        if not path.exists():
            write_atomically(path, vocabulary.model)
            if vocabulary.shortage:
                print_status(f"vocabulary '{name}': {vocabulary.shortage}")
            print_status(f"vocabulary '{name}': {vocabulary.size:,} pieces in {path}{f', from {file}' if file else ''}")
        elif file and Vocabulary.load(path).checksum != vocabulary.checksum:
            raise UserError(
                f"vocab_file: {file} differs from {path}, with which problems are stored already; "
                "give the vocabulary another name, as Text(vocab=..., vocab_file=...), or another --data_dir"
            )
    return set(files)


def missing(jobs: list[Job], data_dir: Path, provided: Collection[str] = ()) -> dict[str, list[str]]:
    """Returns {vocabulary to build: problems that use it}; prints a line for each vocabulary that exists already.

    Args:
      jobs: the problems.
      data_dir: the folder of the vocabularies.
      provided: the names that `provide` returned.
    """
    users: dict[str, list[str]] = {}
    for job in jobs:
        for text in job.texts.values():
            if job.name not in users.setdefault(text.vocab, []):
                users[text.vocab].append(job.name)
    for name in list(users):
        path = vocabulary_path(data_dir, name)
        if path.exists():
            lacking = Vocabulary.load(path).missing_symbols(_symbols(name, jobs))
            note = f", although symbols such as {', '.join(lacking[:3])} have no piece of their own" if lacking else ""
            if note or name not in provided:
                print_status(f"vocabulary '{name}': kept as it is{note} ({path})")
            del users[name]
    return users


def build(name: str, jobs: list[Job], first_passes: list[FirstPass], data_dir: Path) -> None:
    """Builds a vocabulary from the text samples of all jobs that use it, in bounded memory.

    Raises:
      UserError: there is no text, or the vocabulary's size is too small.
    """
    users = [(job, result) for job, result in zip(jobs, first_passes, strict=True) if _keys(name, job)]
    samples = [
        (example[key] for example in result.texts for key in _keys(name, job) if key in example)
        for job, result in users
    ]
    # Interleaved, because training may use only the first part: each problem gets its part of it.
    texts = (text for texts in itertools.zip_longest(*samples) for text in texts if text is not None)
    size = next(text.vocab_size for job, _ in users for text in job.texts.values() if text.vocab == name)
    try:
        vocabulary = Vocabulary.train(texts, size, _symbols(name, jobs))
    except UserError as e:
        raise UserError(f"vocabulary '{name}' of {', '.join(job.name for job, _ in users)}: {e}") from e
    path = vocabulary_path(data_dir, name)
    write_atomically(path, vocabulary.model)
    if vocabulary.shortage:
        print_status(f"vocabulary '{name}': {vocabulary.shortage}")
    print_status(f"vocabulary '{name}': {vocabulary.size:,} pieces in {path}")


def _keys(name: str, job: Job) -> list[str]:
    """The features of a problem that use a vocabulary."""
    return [key for key, text in job.texts.items() if text.vocab == name]


def _symbols(name: str, jobs: list[Job]) -> list[str]:
    """The symbols that all problems declare for a vocabulary."""
    return sorted(
        {symbol for job in jobs for text in job.texts.values() if text.vocab == name for symbol in text.symbols}
    )


def _stored_texts(path: Path) -> list[tuple[str, Text]]:
    """(problem, text feature) of a manifest; empty if it cannot be read, because its problem is generated again."""
    try:
        stored = json.loads(path.read_text(encoding="utf8"))
        inputs = parts(inputs_from_dict(stored["declaration"]["inputs"]))
        features = [*inputs, from_dict(stored["declaration"]["targets"])]
        return [(stored["problem"], feature) for feature in features if isinstance(feature, Text)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
