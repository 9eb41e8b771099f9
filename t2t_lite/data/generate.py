"""Datagen: from raw files to vocabularies, TFRecord shards and a manifest."""

import collections
import contextlib
import dataclasses
import itertools
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from t2t_lite.data import encoding, lengths
from t2t_lite.data.manifest import Manifest, Shard, Split, manifest_path, write_atomically
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.data.workers import Workers
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Label, Text
from t2t_lite.problems.problem import Problem, get_problems
from t2t_lite.progress import counting, say
from t2t_lite.quiet import import_tensorflow

_SHARDS = 10  # of a training split; one for the others, and for training splits of fewer examples than this:
_SMALL = 100
_SAMPLE_EXAMPLES = 100_000  # of each problem, for a vocabulary
_SAMPLE_CHARACTERS = 200_000_000  # of all problems that share a vocabulary


def generate(
    names: Sequence[str],
    data_dir: str | Path,
    raw_root: str | Path,
    num_workers: int | None = None,
    usr_dirs: Sequence[str] = (),
) -> None:
    """Stores problems as records; those that are stored whole already are passed over.

    Args:
      names: problems and mixtures. Those that share a vocabulary are best named together: it is built from the
        training text of all that are named, and stays as it is from then on.
      data_dir: where records, vocabularies and manifests go.
      raw_root: the raw files (--tmp_dir); a problem NAME.SOURCE reads the folder SOURCE in it.
      num_workers: processes; by default one for each processor. The files do not depend on it.
      usr_dirs: folders of the user's own problems, for the workers.

    Raises:
      UserError: an unknown problem, raw files that are missing or wrong, or no data. Nothing that looks whole is left.
    """
    data_dir, raw_root = Path(data_dir), Path(raw_root)
    problems = [problem for problem in get_problems(list(names)).values() if not _is_whole(problem, data_dir)]
    if not problems:
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"--data_dir: cannot make the folder {data_dir}: {e.strerror}") from e
    encoding.forget()
    with Workers(num_workers, usr_dirs) as workers:
        jobs = [_Job(problem, data_dir, raw_root, workers) for problem in problems]
        for job in jobs:
            job.collect_classes()
        for vocab in dict.fromkeys(name for job in jobs for name in job.texts):
            _build_vocabulary(vocab, [job for job in jobs if vocab in job.texts], data_dir)
        for job in jobs:
            job.store()


class _Job:
    """One problem on its way into records."""

    def __init__(self, problem: Problem, data_dir: Path, raw_root: Path, workers: Workers):
        self.problem = problem
        self.data_dir = data_dir
        self.raw_dir = raw_root / problem.source if problem.source else raw_root
        self.workers = workers
        self.declared = problem.declaration()
        problem.resolve(self.raw_dir)
        features = {"inputs": problem.inputs, "targets": problem.targets}
        self.texts: dict[str, list[str]] = {}  # vocabulary -> the features that are written in it
        for key, feature in features.items():
            if isinstance(feature, Text):
                self.texts.setdefault(feature.vocab, []).append(key)

    @property
    def spec(self) -> encoding.Spec:
        declaration = json.dumps(self.problem.declaration())
        return encoding.Spec(self.problem.name, str(self.raw_dir), str(self.data_dir), declaration)

    def collect_classes(self) -> None:
        """Gives labels that were declared without classes those of the training split, sorted."""
        for key in ("inputs", "targets"):
            feature = getattr(self.problem, key)
            if isinstance(feature, Label) and not feature.classes:
                extract = partial(encoding.extract, self.spec, self._train, [key])
                found = {value for (value,) in self.workers.map(extract, self._examples(self._train))}
                if not all(isinstance(value, str) for value in found):
                    raise UserError(f"problem '{self.problem.name}', {key}: class names must be text")
                setattr(self.problem, key, dataclasses.replace(feature, classes=tuple(sorted(found))))

    def sample_text(self, vocab: str) -> Iterator[str]:
        """Yields the text that is written in a vocabulary, of an even sample of the training split."""
        rng = random.Random(0)
        kept: list[list[str]] = []
        slots: collections.deque[int] = collections.deque()

        def sampled() -> Iterator[Any]:
            # Reservoir sampling: example n takes a place among the kept with probability _SAMPLE_EXAMPLES / n.
            for n, item in enumerate(self._examples(self._train)):
                slot = n if n < _SAMPLE_EXAMPLES else rng.randint(0, n)
                if slot < _SAMPLE_EXAMPLES:
                    slots.append(slot)
                    yield item

        extract = partial(encoding.extract, self.spec, self._train, self.texts[vocab])
        with counting(f"{self.problem.name}: text for vocabulary '{vocab}'") as add:
            for texts in self.workers.map(extract, sampled()):
                slot = slots.popleft()
                kept[slot : slot + 1] = [texts]
                add(1)
        for texts in kept:
            for text in texts:
                if isinstance(text, str):  # storing names the example where it is not
                    yield text

    def store(self) -> None:
        """Writes the records of all splits, and then, as proof that they are whole, the manifest."""
        vocabularies = encoding.load_vocabularies(self.problem, self.data_dir)
        _remove_files(self.problem, self.data_dir, incomplete=True)
        try:
            splits = {split: self._store_split(split) for split in self.problem.splits}
            manifest_path(self.data_dir, self.problem.name).unlink(missing_ok=True)
            _remove_files(self.problem, self.data_dir, incomplete=False)
            for split in splits.values():
                for shard in split.shards:
                    os.replace(_incomplete(self.data_dir / shard.name), self.data_dir / shard.name)
        finally:
            _remove_files(self.problem, self.data_dir, incomplete=True)
        Manifest(
            problem=self.problem.name,
            declared=self.declared,
            declaration=self.problem.declaration(),
            splits=splits,
            vocabularies={name: vocabulary.checksum for name, vocabulary in vocabularies.items()},
        ).save(self.data_dir)

    def _store_split(self, split: str) -> Split:
        stored = Split()
        tally = _Tally(self.problem)
        records = self.workers.map(partial(encoding.encode, self.spec, split), self._examples(split))
        with counting(f"{self.problem.name}, {split}") as add:
            first = list(itertools.islice(records, _SMALL))
            if not first:
                raise UserError(f"problem '{self.problem.name}': split '{split}' has no examples in {self.raw_dir}")
            number = _SHARDS if split == self._train and len(first) == _SMALL else 1
            names = [f"{self.problem.name}-{split}-{n:05d}-of-{number:05d}" for n in range(number)]
            with _writers([_incomplete(self.data_dir / name) for name in names]) as writers:
                for part in (first, records):
                    for record, sizes in part:
                        writers[tally.examples % number](record)
                        tally.add(sizes)
                        add(1)
        tally.fill(stored)
        stored.shards = [Shard.of(_incomplete(self.data_dir / name), name) for name in names]
        return stored

    @property
    def _train(self) -> str:
        return self.problem.splits[0]

    def _examples(self, split: str) -> Iterator[Any]:
        return iter(self.problem.examples(split, self.raw_dir))


class _Tally:
    """Counts the examples of a split and their lengths."""

    def __init__(self, problem: Problem):
        self._features = {"inputs": problem.inputs, "targets": problem.targets}
        self.examples = 0
        self._too_long = 0
        self._positions: collections.Counter[int] = collections.Counter()
        self._longest = dict.fromkeys(self._features, 0)
        self._total = dict.fromkeys(self._features, 0)

    def add(self, sizes: dict[str, int]) -> None:
        self.examples += 1
        for key, size in sizes.items():
            self._longest[key] = max(self._longest[key], size)
            self._total[key] += size
        if any(sizes[key] > lengths.max_length(feature) for key, feature in self._features.items()):
            self._too_long += 1
        else:
            self._positions[max(lengths.positions(f, sizes[key]) for key, f in self._features.items())] += 1

    def fill(self, split: Split) -> None:
        split.examples = self.examples
        split.too_long = self._too_long
        split.positions = dict(sorted(self._positions.items()))
        for key in self._features:
            mean = round(self._total[key] / self.examples, 2)
            split.lengths[key] = {"max": self._longest[key], "mean": mean}


def _is_whole(problem: Problem, data_dir: Path) -> bool:
    """Whether the problem, as it is declared now, is stored whole; says so."""
    path = manifest_path(data_dir, problem.name)
    try:
        manifest = Manifest.load(data_dir, problem.name)
    except UserError as e:
        if path.exists():
            say(f"{problem.name}: generating again, because {str(e).partition(': run ')[0]}")
        return False
    declared = json.loads(json.dumps(problem.declaration()))
    if manifest.declared != declared or tuple(manifest.splits) != problem.splits:
        say(f"{problem.name}: generating again, because its declaration has changed")
        return False
    say(f"{problem.name}: already generated (delete {path} to generate it again)")
    return True


def _build_vocabulary(name: str, jobs: list[_Job], data_dir: Path) -> None:
    """Builds a vocabulary of the text of all jobs, unless it exists.

    Raises:
      UserError: the problems disagree on its size.
    """
    sizes: dict[int, str] = {}
    symbols: set[str] = set()
    for job in jobs:
        for key in job.texts[name]:
            feature = getattr(job.problem, key)
            sizes[feature.vocab_size] = job.problem.name
            symbols.update(feature.symbols)
    if len(sizes) > 1:
        declared = ", ".join(f"{size} by '{problem}'" for size, problem in sizes.items())
        raise UserError(
            f"vocabulary '{name}' is declared with different sizes: {declared}; give it one size or two names"
        )
    path = vocabulary_path(data_dir, name)
    if path.exists():
        return
    limit = _SAMPLE_CHARACTERS // len(jobs)
    texts = (text for job in jobs for text in _until(job.sample_text(name), limit))
    try:
        vocabulary = Vocabulary.train(texts, next(iter(sizes)), symbols)
    except UserError as e:
        raise UserError(f"vocabulary '{name}' of {', '.join(job.problem.name for job in jobs)}: {e}") from e
    write_atomically(path, vocabulary.model)
    say(f"vocabulary '{name}': {vocabulary.size:,} pieces in {path}")


def _until(texts: Iterator[str], limit: int) -> Iterator[str]:
    """The first texts, up to a number of characters."""
    for text in texts:
        limit -= len(text)
        if limit < 0:
            return
        yield text


def _incomplete(path: Path) -> Path:
    return path.with_name(path.name + ".incomplete")


def _remove_files(problem: Problem, data_dir: Path, incomplete: bool) -> None:
    """Removes the shards that an earlier run left, under their temporary or their final names."""
    ending = r"\.incomplete" if incomplete else ""
    pattern = re.compile(rf"{re.escape(problem.name)}-\w+-\d{{5}}-of-\d{{5}}{ending}")
    for path in data_dir.iterdir():
        if pattern.fullmatch(path.name):
            path.unlink()


@contextlib.contextmanager
def _writers(paths: list[Path]) -> Iterator[list[Callable[[bytes], None]]]:
    """One function for each path, which appends a record to it."""
    import_tensorflow()
    import tensorflow as tf

    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(tf.io.TFRecordWriter(str(path))).write for path in paths]
