"""Building the vocabularies that problems share, and their agreement about them."""

import itertools
import json
from pathlib import Path

from t2t_lite.data.manifest import write_atomically
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.datagen.job import Job
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Text, from_dict
from t2t_lite.progress import print_status


def check_sizes(jobs: list[Job], data_dir: Path) -> None:
    """Raises UserError where problems, to be stored or stored before, declare a vocabulary with different sizes."""
    declared: dict[str, dict[int, str]] = {}  # vocabulary -> size -> who says so
    for job in jobs:
        for text in job.texts.values():
            declared.setdefault(text.vocab, {}).setdefault(text.vocab_size, f"'{job.name}'")
    named = {job.name for job in jobs}
    for path in sorted(data_dir.glob("*.manifest.json")):
        for name, text in _stored_texts(path):
            # One that is generated again has built nothing, or what it has built is there still.
            if name not in named or vocabulary_path(data_dir, text.vocab).exists():
                declared.setdefault(text.vocab, {}).setdefault(text.vocab_size, f"'{name}' (stored in {data_dir})")
    for vocab, sizes in declared.items():
        if len(sizes) > 1:
            told = ", ".join(f"{size} by {who}" for size, who in sizes.items())
            path = vocabulary_path(data_dir, vocab)
            anew = f", or delete {path} to build it anew" if path.exists() else ""
            raise UserError(
                f"vocabulary '{vocab}' is declared with different sizes: {told}; give it one size or two names{anew}"
            )


def missing(jobs: list[Job], data_dir: Path) -> dict[str, list[str]]:
    """{vocabulary that is to be built: the problems that name it}; says which ones stay as they are."""
    users: dict[str, list[str]] = {}
    for job in jobs:
        for text in job.texts.values():
            if job.name not in users.setdefault(text.vocab, []):
                users[text.vocab].append(job.name)
    for name in list(users):
        path = vocabulary_path(data_dir, name)
        if path.exists():
            lacking = Vocabulary.load(path).lacks(_symbols(name, jobs))
            told = f", though it lacks {', '.join(lacking[:3])} and so on as pieces of their own" if lacking else ""
            print_status(f"vocabulary '{name}': stays as it was built{told} ({path})")
            del users[name]
    return users


def build(name: str, jobs: list[Job], surveys: list[FirstPass], data_dir: Path) -> None:
    """Builds a vocabulary of the text that was sampled of the jobs that name it, in bounded memory.

    Raises:
      UserError: there is no text, or too many characters for the vocabulary's size.
    """
    users = [(job, found) for job, found in zip(jobs, surveys, strict=True) if _keys(name, job)]
    samples = [
        (example[key] for example in found.texts for key in _keys(name, job) if key in example) for job, found in users
    ]
    # In turns, so that each has its share where not all of it is taken.
    texts = (text for turn in itertools.zip_longest(*samples) for text in turn if text is not None)
    size = next(text.vocab_size for job, _ in users for text in job.texts.values() if text.vocab == name)
    try:
        vocabulary = Vocabulary.train(texts, size, _symbols(name, jobs))
    except UserError as e:
        raise UserError(f"vocabulary '{name}' of {', '.join(job.name for job, _ in users)}: {e}") from e
    path = vocabulary_path(data_dir, name)
    write_atomically(path, vocabulary.model)
    print_status(f"vocabulary '{name}': {vocabulary.size:,} pieces in {path}")


def _keys(name: str, job: Job) -> list[str]:
    """The features of a problem that are written in a vocabulary."""
    return [key for key, text in job.texts.items() if text.vocab == name]


def _symbols(name: str, jobs: list[Job]) -> list[str]:
    """The words that a vocabulary keeps whole."""
    return sorted(
        {symbol for job in jobs for text in job.texts.values() if text.vocab == name for symbol in text.symbols}
    )


def _stored_texts(path: Path) -> list[tuple[str, Text]]:
    """(problem, text feature) of a manifest; nothing of one that cannot be read: its problem is generated again."""
    try:
        stored = json.loads(path.read_text(encoding="utf8"))
        features = [from_dict(stored["declaration"][key]) for key in ("inputs", "targets")]
        return [(stored["problem"], feature) for feature in features if isinstance(feature, Text)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
