"""Evaluates a trained run on its problems.

    t2t-eval --problem=microworld --data_dir=data --output_dir=run --json_out=scores.json
    t2t-eval --problem=microworld_ende --output_dir=run --eval_from_file=in.en --reference=in.de

Loss and accuracies are teacher-forced: each token is predicted from the reference before it. BLEU, chrF, CIDEr-D,
error rates and scores of trees are of decoded answers. --checkpoint=watch evaluates beside a running training."""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api
from t2t_lite.bin import command
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.json_text import json_text
from t2t_lite.problems.problem import get_problems

_WATCH_SECONDS = 10.0  # between looks for new checkpoints


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    absl_flags.DEFINE_string("split", "dev", "The split to score.", flag_values=flags)
    steps = "Batches of each problem. Default: the whole split."
    absl_flags.DEFINE_integer("eval_steps", None, steps, 1, flag_values=flags)
    which = (
        "latest, best or a step; all: each checkpoint, once; watch: also those to come, until Ctrl-C. Their scores are "
        "kept in OUTPUT_DIR/eval_curve.jsonl."
    )
    absl_flags.DEFINE_string("checkpoint", "latest", which, flag_values=flags)
    known = ", ".join(DecodeHParams.describe())
    search = f'Search settings, such as "beam_size=4". Known: {known}.'
    absl_flags.DEFINE_string("decode_hparams", "", search, flag_values=flags)
    source = "File of inputs, one per line as for t2t-decoder, to score instead of a split. It needs no --data_dir."
    absl_flags.DEFINE_string("eval_from_file", None, source, flag_values=flags)
    target = "File of the texts or classes that belong to the lines of --eval_from_file."
    absl_flags.DEFINE_string("reference", None, target, flag_values=flags)
    absl_flags.DEFINE_string("json_out", None, "File for the scores, as JSON.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Evaluates, prints the tables and writes the JSON."""
    command.require(flags, "problem", "output_dir")
    names = list(get_problems(flags.problem))
    from_file = flags.eval_from_file is not None
    command.require(flags, *(("eval_from_file", "reference") if from_file or flags.reference else ("data_dir",)))
    if from_file and len(names) > 1:
        raise command.FlagError(f"--problem: one problem at a time with --eval_from_file, not {len(names)}")
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it") if flags.data_dir else None
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    decode_hparams = DecodeHParams.parse(flags.decode_hparams)
    if decode_hparams.return_beams > 1:
        raise UserError("--decode_hparams: return_beams must be 1, as one answer per example is scored")
    pairs = _pairs(flags)
    json_out = command.output_file(flags, "json_out") if flags.json_out else None
    several = flags.checkpoint in ("all", "watch")
    if several and pairs:
        raise command.FlagError(f"--checkpoint={flags.checkpoint}: not with --eval_from_file")
    run = api.open_run(output_dir, checkpoint="latest" if several else flags.checkpoint, data_dir=data_dir)
    settings = dataclasses.asdict(decode_hparams)
    stream = sys.stderr if json_out and json_out.is_stdout else sys.stdout
    if several:
        watch = _WATCH_SECONDS if flags.checkpoint == "watch" else None
        curve = None
        with contextlib.suppress(KeyboardInterrupt):
            for curve in run.evaluate_checkpoints(
                names, split=flags.split, eval_steps=flags.eval_steps, watch_seconds=watch, **settings
            ):
                print(f"{curve.table()}\n", file=stream, flush=True)
        if json_out:
            json_out.write((json_text(curve.scores if curve else {}, indent=2) + "\n").encode())
        return
    scores = run.evaluate(names, split=flags.split, eval_steps=flags.eval_steps, **pairs, **settings)
    print(api.report(scores), file=stream)
    if json_out:
        json_out.write((json_text(scores, indent=2) + "\n").encode())


def _pairs(flags: FlagValues) -> dict[str, Any]:
    """Returns the inputs and targets in the files of --eval_from_file and --reference; {} without them."""
    if not flags.eval_from_file:
        return {}
    inputs, targets = command.aligned_lines(flags, "eval_from_file", "reference")
    return {"inputs": inputs, "targets": targets}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-eval", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
