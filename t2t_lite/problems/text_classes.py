"""Text classification, from the user's own lines of text and class."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.problems.features import Label, Text
from t2t_lite.problems.files import split_file, try_lines
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train.tsv and dev.tsv (test.tsv serves if there is no dev.tsv) with lines text<TAB>class"


@registry.problems.register
class ClassFiles(Problem):
    """Your own texts with classes: train.tsv, dev.tsv; lines text<TAB>class. The text may hold tabs."""

    inputs = Text()
    targets = Label()
    command = "classify"
    needs_source = True

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the text and the class of each line, and where it stands; skips empty lines."""
        path = split_file(split, raw_dir, ".tsv", _LAYOUT)
        for number, line in zip(count(1), try_lines(path), strict=False):
            if isinstance(line, UserError):
                yield line
            elif line:
                text, _, name = (part.strip() for part in line.rpartition("\t"))
                where = f"{printable(path)}:{number}"
                if text:
                    yield {"inputs": text, "targets": name, "where": where}
                else:
                    yield UserError(f"{where}: expected text<TAB>class, got '{line[:60]}'")

    def convert(self, item: dict[str, Any]) -> dict[str, Any]:
        """Checks that the class is one of the training split's."""
        check_class(self.targets, item)
        return item


def check_class(label: Label, item: dict[str, Any]) -> None:
    """Raises UserError, which names file and line, if an item's class is none of the training split's.

    Does nothing while datagen still collects the classes.
    """
    if label.classes and item["targets"] not in label.classes:
        known = ", ".join(map(repr, label.classes[:12])) + (", ..." if len(label.classes) > 12 else "")
        raise UserError(f"{item['where']}: no class {item['targets']!r} in the training split; known classes: {known}")
