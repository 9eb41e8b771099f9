"""What a page shows, gathered before it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t2t_lite.report.experiment_tables import labels
from t2t_lite.report.facts import Example, Kind, RunFacts

NAMES = {"text": "Text", "image": "Picture", "audio": "Sound", "class": "Class", "tree": "Tree"}  # of kinds of data


@dataclass
class Report:
    """What a page shows."""

    runs: list[RunFacts]
    examples: dict[str, list[Example]] = field(default_factory=dict)  # {problem: examples}
    splits: dict[str, str] = field(default_factory=dict)  # {problem: the split of its examples}
    curves: list[tuple[str, RunFacts]] = field(default_factory=list)  # (name, run); runs of one name share a colour
    results: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # that making it took

    @property
    def problems(self) -> list[str]:
        """The problems of all runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.kinds))

    def label(self, problem: str) -> str:
        """Returns a problem's title: "Picture to class", say."""
        kind = self.kind(problem)
        inputs = " and ".join(NAMES[each] for each in kind.inputs)
        return labels(self.results).get(problem) or f"{inputs} to {NAMES[kind.targets].lower()}"

    def kind(self, problem: str) -> Kind:
        """What a problem's data are."""
        return next(run.kinds[problem] for run in self.runs if problem in run.kinds)
