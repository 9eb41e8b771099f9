"""Scores a file of translations against references, aligned by line: BLEU and chrF as sacrebleu computes them.

    t2t-bleu --translation=out.de --reference=dev.de

The signatures say how, so that the figures can be cited."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.data.text_file import read_lines
from t2t_lite.errors import UserError
from t2t_lite.evaluation import metrics


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags)
    absl_flags.DEFINE_string("translation", None, "File of translations, one a line.", flag_values=flags)
    absl_flags.DEFINE_string("reference", None, "File of what they should be, one a line.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Reads both files, and prints the figures."""
    command.require(flags, "translation", "reference")
    answers, references = (_lines(flags, name) for name in ("translation", "reference"))
    if len(answers) != len(references):
        counts = f"--translation has {len(answers):,} lines and --reference {len(references):,}"
        raise UserError(f"{counts}: they must be aligned by line")
    if not answers:
        raise UserError("--translation and --reference: no lines to score")
    figures = metrics.score(["bleu", "chrf"], answers, references)
    print(f"BLEU = {figures['bleu']:.2f}  {figures['bleu_signature']}")
    print(f"chrF2 = {figures['chrf']:.2f}  {figures['chrf_signature']}")


def _lines(flags: FlagValues, name: str) -> list[str]:
    path = Path(flags[name].value).expanduser()
    if not path.is_file():
        raise UserError(f"--{name}: no file '{path}'")
    return read_lines(path, f"--{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-bleu", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
