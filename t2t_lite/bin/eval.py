"""Evaluates a trained run on its problems.

    t2t-eval --problem=microworld --data_dir=data --output_dir=run --json_out=scores.json

Loss and accuracies are teacher-forced: each token is predicted from the reference before it. BLEU, chrF, CIDEr-D,
error rates and scores of trees are of decoded answers."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.json_text import json_text
from t2t_lite.problems.problem import get_problems
from t2t_lite.quiet import import_tensorflow


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    absl_flags.DEFINE_string("split", "dev", "The split to score.", flag_values=flags)
    steps = "Batches of each problem. Default: the whole split."
    absl_flags.DEFINE_integer("eval_steps", None, steps, 1, flag_values=flags)
    absl_flags.DEFINE_string("checkpoint", "latest", "latest, best or a step.", flag_values=flags)
    known = ", ".join(DecodeHParams.describe())
    search = f'Search settings, such as "beam_size=4". Known: {known}.'
    absl_flags.DEFINE_string("decode_hparams", "", search, flag_values=flags)
    absl_flags.DEFINE_string("json_out", None, "File for the scores, as JSON.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Evaluates, prints the tables and writes the JSON."""
    command.require(flags, "problem", "data_dir", "output_dir")
    names = list(get_problems(flags.problem))
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    decode_hparams = DecodeHParams.parse(flags.decode_hparams)
    if decode_hparams.return_beams > 1:
        raise UserError("--decode_hparams: return_beams must be 1, as one answer per example is scored")
    json_out = command.output_file(flags, "json_out") if flags.json_out else None
    import_tensorflow()
    from t2t_lite.evaluation.evaluate import evaluate_run
    from t2t_lite.evaluation.report import format_report

    scores = evaluate_run(names, data_dir, output_dir, flags.split, flags.eval_steps, flags.checkpoint, decode_hparams)
    print(format_report(scores), file=sys.stderr if json_out and json_out.is_stdout else sys.stdout)
    if json_out:
        json_out.write((json_text(scores, indent=2) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-eval", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
