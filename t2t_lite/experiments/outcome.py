"""What became of a run: its status, its scores on the test split, its time; kept in the run's folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from t2t_lite.data.manifest import write_atomically
from t2t_lite.json_text import json_text

FILE = "experiment.json"
FINISHED, DIVERGED, CUT_SHORT, MISSING = "finished", "diverged", "cut short", "missing"


@dataclass
class Outcome:
    """What became of a planned run."""

    status: str = MISSING
    step: int = 0  # the last step trained
    seconds: float = 0.0  # of training and scoring, those of interrupted attempts included
    parameters: int = 0
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)  # {problem: {metric: value}} on the test split
    message: str = ""  # why it diverged

    @classmethod
    def load(cls, folder: Path) -> "Outcome":
        """Reads what `save` wrote; an empty outcome if there is none, or it cannot be read."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def save(self, folder: Path) -> None:
        """Writes it into the run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, (json_text(asdict(self), indent=1) + "\n").encode("utf8"))
