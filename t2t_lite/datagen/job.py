"""One problem to generate: its raw files, its features, and what its records depend on."""

import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import t2t_lite
from t2t_lite.data.vocabulary import vocabulary_path
from t2t_lite.datagen import encode_examples, error_budget
from t2t_lite.datagen.first_pass import FirstPass
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Feature, Label, Text
from t2t_lite.problems.held_out import count_items, split_items
from t2t_lite.problems.problem import Problem
from t2t_lite.problems.table_files import TableFiles
from t2t_lite.progress import print_status


def raw_folder(problem: Problem, raw_root: Path) -> Path:
    """Returns the folder of a problem's raw files below --tmp_dir."""
    return raw_root / problem.source if problem.source else raw_root


class Job:
    """A problem, its raw files, and the folder of its records.

    Args:
      problem: as registered; it is resolved here.
      data_dir: the folder of the records.
      raw_root: the folder of the raw files; a problem NAME.SOURCE reads its subfolder SOURCE.
      max_bad: the fraction of a split's examples that may be broken.
      held_out: the fraction of the training split that becomes the dev split, if the user's own files have none.
      test_split: stores the test split of the user's own files too, if they have both dev and test.

    Raises:
      UserError: the raw files are missing or wrong, or the problem's declaration cannot be stored.
    """

    def __init__(
        self,
        problem: Problem,
        data_dir: Path,
        raw_root: Path,
        max_bad: float,
        held_out: float = 0.0,
        test_split: bool = False,
    ):
        self.problem = problem
        self.data_dir = data_dir
        self.raw_dir = raw_folder(problem, raw_root)
        self.max_bad = max_bad
        self.declared = problem.declaration()
        try:
            json.dumps(self.declared, allow_nan=False)
        except (TypeError, ValueError) as e:
            raise UserError(f"problem '{problem.name}': its declaration cannot be written as JSON: {e}") from e
        for split in problem.splits:
            if not re.fullmatch(r"\w+", split):
                raise UserError(f"problem '{problem.name}': split '{split}': a name may have letters, digits and _")
        if not problem.keyed_features.keys() - {"targets"}:
            raise UserError(f"problem '{problem.name}': inputs is empty; it must be a feature, or some of them")
        if problem.splits[:1] != ("train",):
            raise UserError(f"problem '{problem.name}': splits are {problem.splits}; the first must be 'train'")
        if held_out and problem.needs_source:
            if problem.has_dev(self.raw_dir):
                print_status(f"{problem.name}: --held_out is not used: there is a dev split")
            else:
                problem.held_out = held_out
        if test_split and "test" not in problem.splits and problem.needs_source and problem.has_test(self.raw_dir):
            problem.splits = (*problem.splits, "test")
        problem.resolve(self.raw_dir)
        self.resolved = problem.declaration()

    @property
    def name(self) -> str:
        """The problem's name."""
        return self.problem.name

    @property
    def train(self) -> str:
        """The name of the training split."""
        return self.problem.splits[0]

    @property
    def features(self) -> dict[str, Feature]:
        """The features by the keys of records."""
        return self.problem.keyed_features

    @property
    def texts(self) -> dict[str, Text]:
        """The text features by key."""
        return {key: feature for key, feature in self.features.items() if isinstance(feature, Text)}

    @property
    def open_labels(self) -> list[str]:
        """The label features whose classes are not known yet."""
        return [key for key, feature in self.features.items() if isinstance(feature, Label) and not feature.classes]

    @property
    def spec(self) -> encode_examples.ProblemSpec:
        """What a worker needs to know."""
        declaration = json.dumps(self.problem.declaration())
        return encode_examples.ProblemSpec(self.name, str(self.raw_dir), str(self.data_dir), declaration)

    @property
    def source(self) -> dict[str, str]:
        """Where the examples come from, for the manifest."""
        kind = type(self.problem)
        description = (kind.__doc__ or "").strip().split("\n")[0]
        raw_dir = str(self.raw_dir) if self.raw_dir.is_dir() else ""
        source = {"class": f"{kind.__module__}.{kind.__qualname__}", "description": description, "raw_dir": raw_dir}
        return source | ({"table_yaml": self.problem.settings_crc} if isinstance(self.problem, TableFiles) else {})

    @property
    def key(self) -> dict[str, Any]:
        """What the records depend on: an interrupted generation is resumed only if this is unchanged."""
        try:
            code = zlib.crc32(Path(inspect.getfile(type(self.problem))).read_bytes())
        except (TypeError, OSError):  # a class without a file, such as one defined on Python's command line
            code = 0
        vocabularies = {}
        for name in sorted({text.vocab for text in self.texts.values()}):
            path = vocabulary_path(self.data_dir, name)
            vocabularies[name] = zlib.crc32(path.read_bytes()) if path.exists() else None
        made_by = {"code": code, "version": t2t_lite.__version__, "shards": self.problem.shards}
        raw = {"raw_dir": str(self.raw_dir), "raw_files": self._raw_files}
        return {"resolved": self.resolved, "vocabularies": vocabularies, **raw, **made_by}

    @functools.cached_property
    def _raw_files(self) -> int:
        """A checksum over the names, sizes and times of train.*, dev.*, test.* and of the files in such folders.

        0 for problems that do not read the user's own files.
        """
        if not self.problem.needs_source:
            return 0
        crc = 0
        for top in sorted(os.listdir(self.raw_dir)):
            if not self.problem.is_source(top):
                continue
            folders = sorted(os.walk(self.raw_dir / top)) or [(str(self.raw_dir), [], [top])]
            for path in (os.path.join(folder, name) for folder, _, names in folders for name in sorted(names)):
                with contextlib.suppress(OSError):  # a broken link
                    stat = os.stat(path)
                    crc = zlib.crc32(
                        f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf8", "surrogateescape"), crc
                    )
        return crc

    def examples(self, split: str) -> Iterator[Any]:
        """The raw items of a split."""
        return split_items(self.problem, split, self.raw_dir)

    def count_and_sample(self) -> FirstPass:
        """A first pass for a problem that needs neither text nor classes: it converts nothing.

        If the problem knows the number of its items, only the first few are read.
        """
        result = FirstPass.empty([], [], 0)
        known = count_items(self.problem, self.train, self.raw_dir)
        for number, item in itertools.islice(enumerate(self.examples(self.train)), known and FirstPass.SAMPLE_ITEMS):
            result.add_item(number, item)
            if isinstance(item, UserError):
                self.check_broken(self.train, result.broken, result.count, ended=False)
        result.count = known or result.count
        return result

    def check_splits(self) -> None:
        """Raises UserError if a split has no files or no examples, before any split takes hours to generate."""
        for split in self.problem.splits:
            self.check_not_empty(split, sum(1 for _ in itertools.islice(self.examples(split), 1)))

    def set_classes(self, key: str, names: set[str], examples: int) -> None:
        """Sets the classes of a label that was declared without them.

        Args:
          key: the label feature.
          names: the classes of the training split.
          examples: the number of its examples.

        Raises:
          UserError: there is only one class in the user's own files.
        """
        if self.problem.needs_source:
            where = f"problem '{self.name}': {key} of split '{self.train}'"
            if len(names) < 2:
                raise UserError(f"{where}: only one class, {', '.join(map(repr, names))}; a classifier needs two")
            if len(names) > max(20, examples // 2):
                print_status(f"{where}: {len(names):,} classes in {examples:,} examples; is it the column of classes?")
        feature = self.features[key]
        assert isinstance(feature, Label)
        setattr(self.problem, key, dataclasses.replace(feature, classes=tuple(sorted(names))))

    def shards(self, split: str) -> int:
        """The number of shards of a split, if it has enough examples."""
        return self.problem.shards if split == self.train else 1

    def check_broken(self, split: str, broken: list[tuple[int, str]], items: int, ended: bool = True) -> None:
        """Raises UserError if too many examples are broken; see `error_budget.check`."""
        report = error_budget.report_path(self.data_dir, self.name)
        error_budget.check(split, broken, items, self.max_bad, ended, report)

    def check_not_empty(self, split: str, examples: int) -> None:
        """Raises UserError if a split has no examples."""
        if not examples:
            share = self.problem.held_out
            drawn = f": none was drawn by --held_out={100 * share:g}%; give another fraction" if share else ""
            raise UserError(f"problem '{self.name}': split '{split}' has no examples in {self.raw_dir}{drawn}")
