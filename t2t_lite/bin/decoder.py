"""Answers with a trained run: a file line by line, what is typed, or examples beside their references.

    t2t-decoder --problem=P --data_dir=data --output_dir=run --decode_from_file=in.txt --decode_to_file=out.txt
    t2t-decoder --problem=P --data_dir=data --output_dir=run --decode_from_file=- <in.txt >out.txt
    t2t-decoder --problem=P --data_dir=data --output_dir=run --decode_interactive
    t2t-decoder --problem=microworld --data_dir=data --output_dir=run --show=2

A line is a text, or the path of a picture or a sound. A file that was left unfinished is gone on with."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.problems.problem import get_problems
from t2t_lite.quiet import import_tensorflow


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    string, boolean = absl_flags.DEFINE_string, absl_flags.DEFINE_bool
    string(
        "decode_from_file", None, "File of inputs, one a line; -: standard input to standard output.", flag_values=flags
    )
    string("decode_to_file", None, "File for the answers, one a line.", flag_values=flags)
    boolean("decode_interactive", False, "Answer each line typed, until the end of input.", flag_values=flags)
    absl_flags.DEFINE_integer("show", None, "Examples of each problem's dev split to answer.", 1, flag_values=flags)
    known = ", ".join(DecodeHParams.describe())
    string("decode_hparams", "", f'How to search, as "beam_size=4". Known: {known}.', flag_values=flags)
    string("checkpoint", "latest", "latest, best or a step.", flag_values=flags)
    boolean("brackets", False, "Trees as Penn Treebank brackets with the input's words in.", flag_values=flags)
    boolean("return_scores", False, "Put a tab and the log-probability in nats after each answer.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Checks that one way of decoding is asked for, and makes its call."""
    command.require(flags, "problem", "data_dir", "output_dir")
    problems = list(get_problems(flags.problem).values())
    ways = [flags.decode_from_file is not None, flags.decode_interactive, flags.show is not None]
    if sum(ways) != 1:
        raise command.FlagError("give one of --decode_from_file, --decode_interactive, --show")
    if len(problems) > 1 and not flags.show:
        raise command.FlagError(f"--problem: one problem at a time, not {len(problems)}, except with --show")
    if flags.brackets and flags.show:
        raise command.FlagError("--brackets: not with --show, whose references are in linear form")
    piped = flags.decode_from_file == "-"
    if piped and flags.decode_to_file is not None:
        raise command.FlagError("--decode_to_file: with --decode_from_file=- answers go to standard output")
    if flags.decode_from_file is not None and not piped:
        command.require(flags, "decode_to_file")
        source, target = Path(flags.decode_from_file).expanduser(), command.file_to_write(flags, "decode_to_file")
        if not source.is_file():
            raise UserError(f"--decode_from_file: no file '{source}'")
        if target.exists() and target.samefile(source):
            raise UserError(f"--decode_to_file: '{target}' is what --decode_from_file reads")
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    decode_hparams = DecodeHParams.parse(flags.decode_hparams)
    import_tensorflow()
    from t2t_lite.decoding import decode, files, interactive

    names = [problem.name for problem in problems]
    answerer = decode.Answerer(names, data_dir, output_dir, decode_hparams, flags.checkpoint, flags.brackets)
    if flags.show:
        decode.show_examples(answerer, problems, count=flags.show)
    elif flags.decode_interactive:
        interactive.decode_interactive(answerer, problems[0], return_scores=flags.return_scores)
    elif piped:
        interactive.decode_pipe(answerer, problems[0], return_scores=flags.return_scores)
    else:
        files.decode_file(answerer, problems[0], source=source, target=target, return_scores=flags.return_scores)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-decoder", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
