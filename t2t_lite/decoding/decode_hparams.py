"""DecodeHParams: how the decoder searches, from `--decode_hparams`."""

import dataclasses
from dataclasses import dataclass

from t2t_lite.errors import UserError
from t2t_lite.hparams.fields import parse_fields


@dataclass(frozen=True)
class DecodeHParams:
    """How answers are searched for."""

    beam_size: int = 1  # 1: greedy search
    batch_size: int = 32  # inputs answered at once
    max_length: int = 0  # tokens of an answer at most; 0: what the problem's target allows

    def __post_init__(self) -> None:
        if self.beam_size != 1:
            raise UserError(f"--decode_hparams: beam_size={self.beam_size}: only greedy search, beam_size=1, is there")
        if self.batch_size < 1 or self.max_length < 0:
            raise UserError("--decode_hparams: batch_size must be at least 1 and max_length at least 0")

    @classmethod
    def parse(cls, text: str) -> "DecodeHParams":
        """Reads `"max_length=50,batch_size=8"`.

        Raises:
          UserError: a name is unknown, a value is wrong.
        """
        return cls(**parse_fields(cls, text, "--decode_hparams"))

    @classmethod
    def describe(cls) -> list[str]:
        """The fields with their defaults, as `name=default`."""
        return [f"{f.name}={f.default}" for f in dataclasses.fields(cls)]
