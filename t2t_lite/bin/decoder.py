"""Decodes with a trained run: the lines of a file, of a pipe or of a terminal, or examples of the dev split.

    t2t-decoder --problem=P --output_dir=run --decode_from_file=in.txt --decode_to_file=out.txt
    t2t-decoder --problem=P --output_dir=run --decode_from_file=- <in.txt >out.txt
    t2t-decoder --problem=P --output_dir=run --decode_interactive
    t2t-decoder --problem=microworld_ende --demo
    t2t-decoder --problem=P --output_dir=run --score_file=pairs.tsv
    t2t-decoder --problem=microworld --data_dir=data --output_dir=run --show=2

A line is a text, or the path of a picture or a sound. The same command resumes a file that was not finished."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api
from t2t_lite.bin import command
from t2t_lite.data.text_file import read_lines
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.output_file import OutputFile
from t2t_lite.problems.problem import get_problems


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    string, boolean = absl_flags.DEFINE_string, absl_flags.DEFINE_bool
    source = "File of inputs, one per line; - decodes standard input to standard output."
    string("export_dir", None, "Answer with an export instead of a run.", flag_values=flags)
    boolean("demo", False, "Answer with the packaged demo model, which learned microworld.", flag_values=flags)
    string("decode_from_file", None, source, flag_values=flags)
    string("decode_to_file", None, "File for the answers, one per line.", flag_values=flags)
    boolean("decode_interactive", False, "Answer each line typed, until the end of input.", flag_values=flags)
    examples = "Number of examples of each problem's dev split to answer, with their references."
    absl_flags.DEFINE_integer("show", None, examples, 1, flag_values=flags)
    pairs = (
        "File of lines INPUT<TAB>ANSWER: print the log-probability of each answer, in nats, or write --decode_to_file."
    )
    string("score_file", None, pairs, flag_values=flags)
    known = ", ".join(DecodeHParams.describe())
    string("decode_hparams", "", f'Search settings, such as "beam_size=4". Known: {known}.', flag_values=flags)
    string("checkpoint", "latest", "latest, best or a step.", flag_values=flags)
    boolean("brackets", False, "Write trees as Penn Treebank brackets over the input's words.", flag_values=flags)
    boolean("return_scores", False, "Put a tab and the log-probability in nats after each answer.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Checks the flags and decodes in the one way that they ask for."""
    if flags.demo or flags.export_dir:
        _answer_with_export(flags)
        return
    command.require(flags, "problem", "output_dir")
    problems = list(get_problems(flags.problem).values())
    modes = [flags[name].value is not None for name in ("decode_from_file", "show", "score_file")]
    if sum(modes) + flags.decode_interactive != 1:
        raise command.FlagError("give one of --decode_from_file, --decode_interactive, --show, --score_file")
    if len(problems) > 1 and not flags.show:
        raise command.FlagError(f"--problem: one problem at a time, not {len(problems)}, except with --show")
    if flags.brackets and flags.show:
        raise command.FlagError("--brackets: not with --show, whose references are in linear form")
    from_file = _reads_file(flags)
    if flags.show:
        command.require(flags, "data_dir")
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it") if flags.data_dir else None
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    decode_hparams = DecodeHParams.parse(flags.decode_hparams)
    if from_file:
        source, target = _files(flags)
    if flags.score_file is not None:
        _score(flags, problems[0].name, output_dir, data_dir)
        return
    run = api.open_run(output_dir, checkpoint=flags.checkpoint, data_dir=data_dir)
    answerer = run.answerer([problem.name for problem in problems], decode_hparams, flags.brackets)
    from t2t_lite.decoding import decode, files, interactive

    if flags.show:
        decode.show_examples(answerer, problems, count=flags.show)
    elif flags.decode_interactive:
        interactive.decode_interactive(answerer, problems[0], return_scores=flags.return_scores)
    elif not from_file:
        interactive.decode_pipe(answerer, problems[0], return_scores=flags.return_scores)
    else:
        files.decode_file(answerer, problems[0], source=source, target=target, return_scores=flags.return_scores)


def _answer_with_export(flags: FlagValues) -> None:
    """Answers with an export; without a file, the lines of the terminal or of standard input."""
    command.require(flags, "problem")
    if len(flags.problem) > 1:
        raise command.FlagError(f"--problem: one problem at a time, not {len(flags.problem)}")
    if flags.demo and flags.export_dir:
        raise command.FlagError("give one of --demo, --export_dir")
    for name in ("output_dir", "data_dir", "checkpoint", "show", "score_file", "brackets", "decode_hparams"):
        if flags[name].value not in (flags[name].default, None, ""):
            raise command.FlagError(f"--{name}: not with an export, which holds a model and its search alone")
    from_file = _reads_file(flags)
    if from_file:
        source, target = _files(flags)
    folder = api.demo_dir() if flags.demo else flags.export_dir
    answerer, problem = api.load_export(folder).answerer(flags.problem[0])
    from t2t_lite.decoding import files, interactive

    if from_file:
        files.decode_file(answerer, problem, source=source, target=target, return_scores=flags.return_scores)
    elif flags.decode_interactive or (flags.decode_from_file is None and sys.stdin.isatty()):
        interactive.decode_interactive(answerer, problem, return_scores=flags.return_scores)
    else:
        interactive.decode_pipe(answerer, problem, return_scores=flags.return_scores)


def _reads_file(flags: FlagValues) -> bool:
    """Returns whether --decode_from_file names a file, not standard input, and checks that --decode_to_file fits."""
    if flags.decode_from_file not in (None, "-"):
        command.require(flags, "decode_to_file")
        return True
    if flags.decode_to_file is not None and flags.score_file is None:
        raise command.FlagError("--decode_to_file: only with a file of inputs; other answers go to standard output")
    return False


def _files(flags: FlagValues) -> tuple[Path, OutputFile]:
    """Returns the file of inputs, and where the answers go."""
    source, target = command.existing_file(flags, "decode_from_file"), command.output_file(flags, "decode_to_file")
    if target.plain and target.plain.exists() and target.plain.samefile(source):
        raise UserError(f"--decode_to_file: '{target.path}' is the file that --decode_from_file reads")
    return source, target


def _score(flags: FlagValues, name: str, output_dir: Path, data_dir: Path | None) -> None:
    """Writes the log-probabilities of the answers in --score_file, one per line."""
    path = command.existing_file(flags, "score_file")
    target = command.output_file(flags, "decode_to_file") if flags.decode_to_file else None
    pairs = [line.split("\t") for line in read_lines(path, "--score_file")]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2:
            raise UserError(f"{path}:{number}: expected an input, a tab and an answer, found {len(pair) - 1} tabs")
    inputs, answers = zip(*pairs, strict=True) if pairs else ((), ())
    run = api.open_run(output_dir, checkpoint=flags.checkpoint, data_dir=data_dir)
    scores = run.score(name, inputs, answers) if pairs else []
    text = "".join(f"{score:.4f}\n" for score in scores)
    if target:
        target.write(text.encode())
    else:
        print(text, end="")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-decoder", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
