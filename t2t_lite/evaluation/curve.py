"""The scores of a run's checkpoints: a file to which each is appended once, and a table of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2t_lite.json_text import json_text

_NOT_SHOWN = ("examples", "log_perplexity", "answers_cut", "answers_empty", "too_long", "answers")


class EvaluationCurve:
    """The file of scores, a JSON object per line: what was evaluated, the step, and the scores by problem.

    An incomplete last line, of a process that was killed, is dropped.

    Args:
      path: the file; it need not exist.
      settings: what the scores depend on beside the step, such as the split and the search, as JSON values. Only lines
        with the same settings are read.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path, self._settings = path, json.loads(json.dumps(settings))
        self._lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
        self.scores: dict[int, dict[str, Any]] = {}  # {step: {problem: {metric: value}}}
        for line in self._lines:
            try:
                stored = json.loads(line)
                if {key: value for key, value in stored.items() if key not in ("step", "problems")} == self._settings:
                    self.scores[int(stored["step"])] = stored["problems"]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def add(self, step: int, problems: Mapping[str, Any]) -> None:
        """Appends the scores of a step."""
        line = json_text({**self._settings, "step": step, "problems": problems})
        content = self.path.read_bytes() if self.path.exists() else b""
        with self.path.open("ab") as file:
            file.write(b"" if not content or content.endswith(b"\n") else b"\n")
            file.write(line.encode() + b"\n")
        self.scores[step] = json.loads(line)["problems"]

    def table(self) -> str:
        """Formats a table for each problem, with a row per step."""
        steps = sorted(self.scores)
        names = dict.fromkeys(name for step in steps for name in self.scores[step])
        return "\n\n".join(self._problem_table(name, [s for s in steps if name in self.scores[s]]) for name in names)

    def _problem_table(self, name: str, steps: Sequence[int]) -> str:
        rows = [self.scores[step][name] for step in steps]
        keys = [key for key, value in rows[-1].items() if not isinstance(value, str) and key not in _NOT_SHOWN]
        cells = [["step", *keys]]
        for step, row in zip(steps, rows, strict=True):
            cells.append([str(step), *(_format(row.get(key)) for key in keys)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in cells)
        return "\n".join([name, *(f"  {line}" for line in lines)])


def _format(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"
