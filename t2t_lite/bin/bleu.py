"""Scores a file of translations against references, aligned by line, with sacrebleu's BLEU and chrF.

    t2t-bleu --translation=out.de --reference=dev.de

The signatures name the settings, so that the scores can be cited."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.evaluation import metrics


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags)
    absl_flags.DEFINE_string("translation", None, "File of translations, one per line.", flag_values=flags)
    absl_flags.DEFINE_string("reference", None, "File of reference translations, one per line.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Reads both files and prints the scores."""
    command.require(flags, "translation", "reference")
    answers, references = command.aligned_lines(flags, "translation", "reference")
    scores = metrics.score(["bleu", "chrf"], answers, references)
    print(f"BLEU = {scores['bleu']:.2f}  {scores['bleu_signature']}")
    print(f"chrF2 = {scores['chrf']:.2f}  {scores['chrf_signature']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-bleu", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
