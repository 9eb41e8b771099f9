"""A report of trained runs as one HTML page: scores, curves, decoded examples, experts, attention (docs/report.md)."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_report(
    folders: Sequence[str | Path],
    path: str | Path,
    results: Mapping[str, Any] | None = None,
    *,
    data_dir: str | Path | None = None,
    examples: int = 3,
    seconds: float = 120.0,
) -> None:
    """Writes a page about runs side by side: one HTML file without scripts that needs no other file.

    What cannot be shown of a run becomes a line on the page.

    Args:
      folders: the folders of the runs whose models are looked into.
      path: the file to write.
      results: the content of an experiment's results.json; adds its tables, its transfer matrix and the curves of all
        its runs.
      data_dir: the folder that datagen wrote; by default a folder `data` in or beside each run.
      examples: decoded examples of each problem.
      seconds: the time for switching experts off, over all runs.

    Raises:
      UserError: a folder is not a run, the results are of another format, or the file cannot be written.
    """
    from t2t_lite.report.write import write

    write(
        *([_path(folder) for folder in folders], _path(path), results),
        data_dir=None if data_dir is None else _path(data_dir),
        examples=examples,
        seconds=seconds,
    )


def _path(path: str | Path) -> Path:
    return Path(os.path.expanduser(path))
