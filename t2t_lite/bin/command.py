"""What the commands share: flags, help, and errors as one clear line with an exit status."""

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.errors import Stopped, UserError, did_you_mean

_SHARED_LISTS = {
    "problem": "Problems and mixtures by name (t2t-trainer --registry_help lists them).",
    "eval_problems": "Problems and mixtures to evaluate while training; all that are trained unless given.",
    "t2t_usr_dir": "Folders of your own problems, mixtures, modalities, models and hparams sets: Python files.",
}
_SHARED_FOLDERS = {
    "data_dir": "Folder of the generated records and vocabularies.",
    "tmp_dir": "Folder of raw files, DATA_DIR/raw unless given; a problem NAME.SOURCE reads its subfolder SOURCE.",
    "output_dir": "Folder of the run: its checkpoints, its hparams and its gin configuration.",
}


class FlagError(UserError):
    """A flag that is missing or wrong. Exit status 2."""


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
      doc: what --help says above the flags.
      define: adds the command's flags to an empty set of flags.
      body: does the work; UserError is for the user to mend.
      argv: the arguments without the program; by default those of the process.

    Returns:
      The exit status: 0, 1 for an error of the user's, 2 for a wrong flag, 130 for Ctrl-C, 143 for SIGTERM.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it when it is imported, which is later
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
        # A full disk, for one, names no file.
        reason = e.strerror or str(e) or type(e).__name__
        return _fail(name, reason if e.filename is None else f"{e.filename}: {reason}", 1)
    except Stopped as e:
        print(f"{name}: {e}. To go on:\n{_command_line(name, arguments, argv is None)}", file=sys.stderr)
        return e.status
    except KeyboardInterrupt:
        return _fail(name, "interrupted", 130)


def define_shared(flags: FlagValues, *names: str) -> None:
    """Defines flags that several commands have, and --t2t_usr_dir, which all have."""
    for name in (*names, "t2t_usr_dir"):
        if name in _SHARED_LISTS:
            absl_flags.DEFINE_list(name, [], _SHARED_LISTS[name], flag_values=flags)
        else:
            absl_flags.DEFINE_string(name, None, _SHARED_FOLDERS[name], flag_values=flags)


def require(flags: FlagValues, *names: str) -> None:
    """Raises FlagError where one of the flags was not given, or lists an empty item."""
    for name in names:
        value = flags[name].value
        if not value:
            raise FlagError(f"--{name} is required (--help describes the flags)")
        if isinstance(value, list) and "" in value:
            raise FlagError(f"--{name}: an item between commas is empty")


def existing_folder(flags: FlagValues, name: str, advice: str) -> Path:
    """Returns the folder that a flag names.

    Raises:
      UserError: there is no such folder; the advice follows.
    """
    path = Path(flags[name].value).expanduser()
    if not path.is_dir():
        raise UserError(f"--{name}: no folder '{path}'; {advice}")
    return path


def number_pair(flags: FlagValues, name: str) -> tuple[int, int] | None:
    """Returns the two whole numbers of a flag such as --profile_steps=10,20; None where it was not given.

    Raises:
      FlagError: it is something else, or the numbers do not ascend from 1.
    """
    text = flags[name].value
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise FlagError(
            f"--{name}={text}: expected A,B: two whole numbers, the first at least 1, the second no smaller"
        )
    return int(found[1]), int(found[2])


def fraction(flags: FlagValues, name: str) -> float:
    """Returns the share that a flag such as --max_bad=0.1% names, between 0 and 1.

    Raises:
      FlagError: it names none.
    """
    text = flags[name].value.strip()
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise FlagError(f"--{name}={text}: expected a share from 0 to 1 such as 0.001, or from 0% to 100%")
    return value


def file_to_write(flags: FlagValues, name: str) -> Path:
    """Returns the path that a flag names, so that a wrong one is told before the work and not after it.

    Raises:
      UserError: its folder does not exist, or it is a folder itself.
    """
    path = Path(flags[name].value).expanduser()
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"--{name}: cannot write '{path}': {'a folder' if path.is_dir() else 'no such folder'}")
    return path


def print_registries(*registries: registry.Registry) -> None:
    """Prints what is registered, with a line of description each."""
    for one in registries:
        items = one.describe()
        print(f"{one.title}:" if items else f"{one.title}: none")
        width = max(map(len, items), default=0)
        for item, description in items.items():
            print(f"  {item:{width}}  {description}".rstrip())
        print()


def _parse(flags: FlagValues, arguments: list[str]) -> None:
    flags.set_gnu_getopt()  # flags may follow a stray argument, which is then the one mistake to tell
    try:
        _, *stray = flags(["", *arguments])
    except absl_flags.UnrecognizedFlagError as e:
        near = did_you_mean(e.flagname, flags).replace("'", "").replace("mean ", "mean --").replace(" or ", " or --")
        raise FlagError(f"unknown flag --{e.flagname}{near}") from e
    except absl_flags.IllegalFlagValueError as e:
        raise FlagError(_illegal_value(flags, str(e))) from e
    except (absl_flags.Error, ValueError) as e:
        raise FlagError(str(e)) from e
    if stray:
        raise FlagError(f"unexpected argument '{stray[0]}'; flags are written --flag=value")


def _illegal_value(flags: FlagValues, message: str) -> str:
    """Rewords absl's `flag --NAME=VALUE: REASON`, whose reason is in Python's terms."""
    found = re.match(r"flag --(\w+)=(.*?): ", message)
    if not found:
        return message
    name, value = found.groups()
    parser = flags[name].parser
    if isinstance(parser, absl_flags.EnumParser):
        return f"unknown --{name} '{value}'{did_you_mean(value, parser.enum_values)}"
    kinds = {absl_flags.IntegerParser: "a whole number", absl_flags.BooleanParser: "true or false"}
    expected = kinds.get(type(parser), "another value")
    least = getattr(parser, "lower_bound", None)
    return f"--{name}={value}: expected {expected}{'' if least is None else f', at least {least}'}"


def _command_line(name: str, arguments: list[str], own_process: bool) -> str:
    """What to type to run the same again: as it was typed, if it was."""
    if own_process and Path(sys.argv[0]).name == name:
        return shlex.join([sys.argv[0], *arguments])
    if own_process:  # python -m t2t_lite.bin.trainer
        return shlex.join(sys.orig_argv)
    return shlex.join([name, *arguments])


def _fail(name: str, message: str, status: int) -> int:
    print(f"{name}: error: {' '.join(message.split())}", file=sys.stderr)
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
