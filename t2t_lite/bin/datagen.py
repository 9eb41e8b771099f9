"""Generates records and vocabularies of problems, with parallel workers.

    t2t-datagen --problem=microworld --data_dir=data
    t2t-datagen --problem=translate_files.mine --data_dir=data --tmp_dir=raw

    t2t-datagen --verify --data_dir=data

Skips problems that are already generated. After an interruption, the same command resumes."""

import shlex
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import command
from t2t_lite.datagen import datagen
from t2t_lite.problems.problem import get_problems

_MAX_BAD = (
    "The fraction of a split's examples that may be broken, such as 0.1% or 0.001. They are left out and listed in "
    "PROBLEM.broken.tsv; if there are more, generation stops."
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
    datagen(
        list(get_problems(flags.problem)),
        flags.data_dir,
        flags.tmp_dir,
        num_workers=flags.num_workers,
        usr_dirs=flags.t2t_usr_dir,
        max_bad=max_bad,
        beam_options=shlex.split(flags.beam_options) if flags.beam or flags.beam_options else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-datagen", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
