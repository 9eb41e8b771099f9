"""Image captions, from the user's own pictures and texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Image, Text
from t2t_lite.problems.files import read_table, split_file
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train.tsv and dev.tsv (test.tsv serves if there is no dev.tsv) with lines picture<TAB>caption"


@registry.problems.register
class CaptionFiles(Problem):
    """Your own pictures with captions: train.tsv, dev.tsv; lines path<TAB>caption, a line for each caption."""

    inputs = Image()
    targets = Text()
    command = "to_english"
    metrics = ("bleu", "cider_d")
    needs_source = True

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields the picture's path and the caption of each line."""
        for line in read_table(split_file(split, raw_dir, ".tsv", _LAYOUT)):
            yield line if isinstance(line, UserError) else {"inputs": line[0], "targets": line[1]}
