"""Code shared by the commands: flags, --help, and errors as one line with an exit status."""

import io
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api, registry
from t2t_lite.data.text_file import read_lines
from t2t_lite.errors import FlagError, Stopped, UserError, did_you_mean
from t2t_lite.escapes import escape_controls
from t2t_lite.output_file import OutputFile
from t2t_lite.tensor2tensor_names import hint

_SHARED_LISTS = {
    "problem": "Problems and mixtures by name (t2t-trainer --registry_help lists them).",
    "eval_problems": "Problems and mixtures to evaluate during training. Default: all that are trained.",
    "t2t_usr_dir": "Folders of your own problems, mixtures, modalities, models and hparams sets: Python files.",
}
_SHARED_FOLDERS = {
    "data_dir": "Folder of the generated records and vocabularies.",
    "tmp_dir": "Folder of raw files; a problem NAME.SOURCE reads its subfolder SOURCE. Default: DATA_DIR/raw.",
    "output_dir": "Folder of the run: its checkpoints, its hparams and its gin configuration.",
}


def run(
    name: str,
    doc: str,
    define: Callable[[FlagValues], None],
    body: Callable[[FlagValues], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Runs a command: parses its flags, imports the user's folders, calls its body.

    Args:
      name: the command, such as "t2t-datagen".
      doc: the text of --help above the flags.
      define: adds the command's flags to an empty set of flags.
      body: does the work; a UserError that it raises is printed as one line.
      argv: the arguments without the program; by default those of the process.

    Returns:
      The exit status: 0, 1 for an error, 2 for a wrong flag, 130 for Ctrl-C, 143 for SIGTERM.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # before the first import of Keras, which reads it
    escape_unencodable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    flags = FlagValues()
    define(flags)
    try:
        if {"--help", "-help", "-h"} & set(arguments):
            print(_help(name, doc, flags))
        else:
            _parse(flags, arguments)
            registry.import_usr_dirs(flags.t2t_usr_dir)
            body(flags)
        sys.stdout.flush()
        return 0
    except UserError as e:
        return _fail(name, str(e), 2 if isinstance(e, FlagError) else 1)
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as e:
        # Not every error has a file name: a full disk has none.
        reason = e.strerror or str(e) or type(e).__name__
        return _fail(name, reason if e.filename is None else f"{e.filename}: {reason}", 1)
    except Stopped as e:
        print(f"{name}: {e}. To continue:\n{_command_line(name, arguments, argv is None)}", file=sys.stderr)
        return e.status
    except KeyboardInterrupt:
        return _fail(name, "interrupted", 130)


def escape_unencodable() -> None:
    """Makes standard output and error write what their encoding does not have as escapes, such as `\\u20ac`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a notebook's streams are not
            stream.reconfigure(errors="backslashreplace")


def define_shared(flags: FlagValues, *names: str) -> None:
    """Defines flags that several commands share, and --t2t_usr_dir, which all commands have."""
    for name in (*names, "t2t_usr_dir"):
        if name in _SHARED_LISTS:
            absl_flags.DEFINE_list(name, [], _SHARED_LISTS[name], flag_values=flags)
        else:
            absl_flags.DEFINE_string(name, None, _SHARED_FOLDERS[name], flag_values=flags)


def require(flags: FlagValues, *names: str) -> None:
    """Raises FlagError if one of the flags was not given, or its list has an empty item."""
    for name in names:
        value = flags[name].value
        if not value:
            raise FlagError(f"--{name} is required (--help describes the flags)")
        if isinstance(value, list) and "" in value:
            raise FlagError(f"--{name}: an item between commas is empty")


def existing_folder(flags: FlagValues, name: str, advice: str) -> Path:
    """Returns the folder that a flag names.

    Raises:
      UserError: there is no such folder; the text ends with the advice.
    """
    return api.existing_folder(flags[name].value, name, advice)


def existing_file(flags: FlagValues, name: str) -> Path:
    """Returns the file that a flag names: a plain file, or a pipe or device such as /dev/stdin or `<(command)`.

    Raises:
      UserError: there is no such file, or it is a folder.
    """
    path = _path(flags, name)
    if path.is_dir():
        raise UserError(f"--{name}: '{path}' is a folder; expected a file")
    if not path.exists():
        raise UserError(f"--{name}: no file '{path}'")
    return path


def aligned_lines(flags: FlagValues, first: str, second: str) -> tuple[list[str], list[str]]:
    """Returns the lines of the files that two flags name.

    Raises:
      UserError: a file cannot be read or has no lines, or their numbers differ.
    """
    ours, theirs = (read_lines(existing_file(flags, name), f"--{name}") for name in (first, second))
    if len(ours) != len(theirs):
        counts = f"--{first} has {len(ours):,} lines and --{second} {len(theirs):,}"
        raise UserError(f"{counts}: they must be aligned by line")
    if not ours:
        raise UserError(f"--{first} and --{second}: no lines to score")
    return ours, theirs


def output_file(flags: FlagValues, name: str) -> OutputFile:
    """Returns the output file that a flag names. Called before the work, so that a wrong path costs no work.

    Raises:
      UserError: the file cannot be written.
    """
    return OutputFile(_path(flags, name), name)


def number_pair(flags: FlagValues, name: str) -> tuple[int, int] | None:
    """Returns the two whole numbers of a flag such as --profile_steps=10,20; None if it was not given.

    Raises:
      FlagError: the value is not two numbers from 1 in ascending order.
    """
    text = flags[name].value
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise FlagError(f"--{name}={text}: expected A,B: two whole numbers with 1 <= A <= B")
    return int(match[1]), int(match[2])


def fraction(flags: FlagValues, name: str) -> float:
    """Returns the value of a flag such as --max_bad=0.1%, a number from 0 to 1.

    Raises:
      FlagError: the value is not a number from 0 to 1, or from 0% to 100%.
    """
    text = flags[name].value.strip()
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise FlagError(f"--{name}={text}: expected a fraction from 0 to 1 such as 0.001, or from 0% to 100%")
    return value


def print_registries(*registries: registry.Registry) -> None:
    """Prints the names in each registry with one line of description."""
    for each in registries:
        items = each.describe()
        print(f"{each.title}:" if items else f"{each.title}: none")
        width = max(map(len, items), default=0)
        for item, description in items.items():
            print(f"  {item:{width}}  {description}".rstrip())
        print()


def _path(flags: FlagValues, name: str) -> Path:
    return Path(os.path.expanduser(flags[name].value))  # Path.expanduser fails for the ~NAME of an unknown user


def _parse(flags: FlagValues, arguments: list[str]) -> None:
    flags.set_gnu_getopt()  # flags may follow a stray argument, so that the error names the argument
    try:
        _, *stray = flags(["", *arguments])
    except absl_flags.UnrecognizedFlagError as e:
        suggestion = hint("flag", e.flagname) or did_you_mean(e.flagname, flags, listing="--help", quote="--{}".format)
        raise FlagError(f"unknown flag --{e.flagname}{suggestion}") from e
    except absl_flags.IllegalFlagValueError as e:
        raise FlagError(_illegal_value(flags, str(e))) from e
    except (absl_flags.Error, ValueError) as e:
        raise FlagError(str(e)) from e
    if stray:
        raise FlagError(f"unexpected argument '{stray[0]}'; flags are written --flag=value")


def _illegal_value(flags: FlagValues, message: str) -> str:
    """Rewords absl's `flag --NAME=VALUE: REASON`, whose reason is in Python's terms."""
    match = re.match(r"flag --(\w+)=(.*?): ", message)
    if not match:
        return message
    name, value = match.groups()
    parser = flags[name].parser
    if isinstance(parser, absl_flags.EnumParser):
        return f"unknown --{name} '{value}'{did_you_mean(value, parser.enum_values)}"
    kinds = {absl_flags.IntegerParser: "a whole number", absl_flags.BooleanParser: "true or false"}
    expected = kinds.get(type(parser), "another value")
    least = getattr(parser, "lower_bound", None)
    return f"--{name}={value}: expected {expected}{'' if least is None else f', at least {least}'}"


def _command_line(name: str, arguments: list[str], own_process: bool) -> str:
    """The command line that runs the same command again, for a shell."""
    if own_process and Path(sys.argv[0]).name == name:
        return shlex.join([sys.argv[0], *arguments])
    if own_process:  # python -m t2t_lite.bin.trainer
        return shlex.join(sys.orig_argv)
    return shlex.join([name, *arguments])


def _fail(name: str, message: str, status: int) -> int:
    line = escape_controls(" ".join(message.split()))  # a file's name may hold terminal escapes
    print(f"{name}: error: {line}", file=sys.stderr)
    return status


def _help(name: str, doc: str, flags: FlagValues) -> str:
    lines = [f"{name}: {doc.strip()}", "", "Flags:"]
    for group in flags.flags_by_module_dict().values():
        for flag in group:
            lines.append(f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}=...")
            default = f" Default: {flag.default}." if flag.default else ""
            several = " Separated by commas." if flag.name in _SHARED_LISTS else ""
            text = " ".join(f"{flag.help}{several}{default}".split())
            lines.append(textwrap.indent(textwrap.fill(text, 90), " " * 8))
    return "\n".join(lines)
