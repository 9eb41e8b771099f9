"""Generates records and vocabularies of problems, with parallel workers.

    t2t-datagen --problem=microworld --data_dir=data
    t2t-datagen --problem=translate_files.mine --data_dir=data --tmp_dir=raw

    t2t-datagen --verify --data_dir=data

Skips problems that are already generated. After an interruption, the same command resumes."""

import shlex
import sys
from collections.abc import Collection, Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import command
from t2t_lite.datagen import datagen
from t2t_lite.errors import did_you_mean
from t2t_lite.problems.problem import Problem, get_problems
from t2t_lite.problems.table_files import KINDS, TableFiles

_MAX_BAD = (
    "The fraction of a split's examples that may be broken, such as 0.1% or 0.001. They are left out and listed in "
    "PROBLEM.broken.tsv; if there are more, generation stops."
)
_HELD_OUT = (
    "For your own files without a dev split: the fraction of the training split that becomes it, such as 5%. It is "
    "drawn by the content of the inputs, so equal inputs are on the same side."
)
_TEST_SPLIT = "Also store the test split of your own files, if they have dev and test. t2t-eval --split=test scores it."
_COLUMNS = (
    "The columns of a table (table_files.NAME): inputs:COLUMN,targets:COLUMN, each with :text, :class, :picture or "
    ":sound if the guess is wrong. For names with commas or colons: table.yaml, see docs/own-data.md."
)
_NUM_WORKERS = "Worker processes, at most 4 per processor. Default: one per processor. The files do not depend on it."

_BEAM_OPTIONS = (
    'Options of Beam, such as "--runner=DirectRunner --direct_num_workers=4"; they turn on --beam. The folders must '
    "exist under the same paths on every worker."
)


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "tmp_dir")
    absl_flags.DEFINE_integer("num_workers", None, _NUM_WORKERS, 1, flag_values=flags)
    absl_flags.DEFINE_string("max_bad", "0.1%", _MAX_BAD, flag_values=flags)
    absl_flags.DEFINE_string("held_out", None, _HELD_OUT, flag_values=flags)
    absl_flags.DEFINE_bool("test_split", False, _TEST_SPLIT, flag_values=flags)
    absl_flags.DEFINE_string("columns", None, _COLUMNS, flag_values=flags)
    absl_flags.DEFINE_bool(
        "beam",
        False,
        "Generate with Apache Beam (DirectRunner unless --beam_options says otherwise).",
        flag_values=flags,
    )
    absl_flags.DEFINE_string("beam_options", "", _BEAM_OPTIONS, flag_values=flags)
    absl_flags.DEFINE_bool(
        "verify", False, "Check all files against the manifests; generate nothing.", flag_values=flags
    )
    absl_flags.DEFINE_bool("list", False, "List the problems and mixtures; generate nothing.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Lists, verifies or generates."""
    if flags.list:
        command.print_registries(registry.problems, registry.mixtures)
        return
    if flags.verify:
        command.require(flags, "data_dir")
        data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
        from t2t_lite.data.verify import verify

        print("\n".join(verify(data_dir, list(get_problems(flags.problem)))))
        return
    command.require(flags, "problem", "data_dir")
    max_bad = command.fraction(flags, "max_bad")
    problems = get_problems(flags.problem)
    datagen(
        list(problems),
        flags.data_dir,
        flags.tmp_dir,
        num_workers=flags.num_workers,
        usr_dirs=flags.t2t_usr_dir,
        max_bad=max_bad,
        beam_options=shlex.split(flags.beam_options) if flags.beam or flags.beam_options else None,
        held_out=_held_out(flags, problems.values()),
        columns=_columns(flags, problems.values()),
        test_split=flags.test_split,
    )


def _held_out(flags: FlagValues, problems: Collection[Problem]) -> float:
    """Returns the fraction of --held_out; 0 if it is not given."""
    if flags.held_out is None:
        return 0.0
    fraction = command.fraction(flags, "held_out")
    if not 0 < fraction < 1:
        raise command.FlagError(f"--held_out={flags.held_out}: expected more than 0% and less than 100%")
    if not any(problem.needs_source for problem in problems):
        raise command.FlagError("--held_out: is for problems on your own files, such as table_files.NAME")
    return fraction


def _columns(flags: FlagValues, problems: Collection[Problem]) -> dict[str, dict[str, str]] | None:
    """Returns {"inputs": {"column": ..., "kind": ...}, "targets": ...} of --columns."""
    if flags.columns is None:
        return None
    if not any(isinstance(problem, TableFiles) for problem in problems):
        raise command.FlagError("--columns: is for problems on your own tables, table_files.NAME")
    columns = {}
    for item in flags.columns.split(","):
        key, *rest = (part.strip() for part in item.split(":"))
        if key not in ("inputs", "targets") or len(rest) not in (1, 2) or not rest[0] or key in columns:
            raise command.FlagError(f"--columns={flags.columns}: expected inputs:COLUMN[:KIND],targets:COLUMN[:KIND]")
        columns[key] = {"column": rest[0]} | ({"kind": rest[1]} if len(rest) == 2 else {})
        if len(rest) == 2 and rest[1] not in KINDS:
            raise command.FlagError(
                f"--columns={flags.columns}: unknown kind '{rest[1]}'{did_you_mean(rest[1], KINDS)}"
            )
    return columns


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-datagen", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
