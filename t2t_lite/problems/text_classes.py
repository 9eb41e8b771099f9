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
