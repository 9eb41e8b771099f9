"""DecodeHParams, the settings of the search from `--decode_hparams`."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from t2t_lite.errors import UserError
from t2t_lite.hparams.fields import parse_fields

_MINIMUM = {"beam_size": 1, "alpha": 0, "return_beams": 1, "top_k": 0, "batch_size": 1, "max_length": 0}
_SAMPLING_ONLY = ("temperature", "top_k", "top_p", "seed")


@dataclass(frozen=True)
class DecodeHParams:
    """The settings of the search for answers."""

    beam_size: int = 1  # hypotheses kept at each position; 1: greedy search
    alpha: float = 0.6  # exponent of the length penalty ((5 + length) / 6) ** alpha; 0: none, larger: longer answers
    return_beams: int = 1  # answers per input, the best first: beams, classes or samples
    sampling: bool = False  # sample instead of searching
    temperature: float = 1.0  # sampling: divides the logits; below 1 it makes probable tokens more probable
    top_k: int = 0  # sampling: only from the k most probable tokens; 0: from all
    top_p: float = 1.0  # sampling: only from the fewest tokens whose probabilities sum to p
    seed: int = 0  # sampling: the same seed and input give the same answer
    batch_size: int = 32  # inputs decoded at once
    max_length: int = 0  # tokens of an answer at most; 0: the maximum of the problem's targets

    def __post_init__(self) -> None:
        for name, minimum in _MINIMUM.items():
            if getattr(self, name) < minimum:
                _refuse(f"{name}={getattr(self, name)}: must be at least {minimum}")
        if not -(2**63) <= self.seed < 2**63:
            _refuse(f"seed={self.seed}: must fit into 64 bits")
        if self.temperature <= 0:
            _refuse(f"temperature={self.temperature}: must be above 0")
        if not 0 < self.top_p <= 1:
            _refuse(f"top_p={self.top_p}: must be above 0 and at most 1")
        if self.sampling and self.beam_size > 1:
            _refuse("sampling and beam_size exclude each other; return_beams=N draws N answers")
        for field in dataclasses.fields(self):
            if field.name in _SAMPLING_ONLY and not self.sampling and getattr(self, field.name) != field.default:
                _refuse(f"{field.name} is for sampling: add sampling=true")

    @classmethod
    def parse(cls, text: str) -> "DecodeHParams":
        """Reads `"beam_size=4,alpha=0.6,return_beams=2"`.

        Raises:
          UserError: a name is unknown, a value is wrong, or two settings exclude each other.
        """
        if re.search(r"return_beams\s*=\s*true", text, re.IGNORECASE):
            _refuse("return_beams is the number of answers; tensor2tensor's return_beams=True is that of beam_size")
        return cls(**parse_fields(cls, text, "--decode_hparams"))

    def check_beams(self) -> None:
        """Checks return_beams for text targets; classes are ranked without beams.

        Raises:
          UserError: return_beams is larger than beam_size.
        """
        if self.return_beams > self.beam_size and not self.sampling:
            _refuse(f"return_beams={self.return_beams} needs at least beam_size={self.return_beams}, or sampling=true")

    def changing_answers(self) -> dict[str, Any]:
        """The settings that an answer depends on."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "batch_size"}

    @classmethod
    def describe(cls) -> list[str]:
        """The settings with their defaults, as `name=default`."""
        return [f"{f.name}={f.default}" for f in dataclasses.fields(cls)]


def _refuse(reason: str) -> None:
    raise UserError(f"--decode_hparams: {reason}")
