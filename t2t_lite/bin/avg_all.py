"""Averages the weights of a run's last checkpoints into a new run folder, which often scores better than the last one.

t2t-avg-all --output_dir=run --n=3
t2t-eval --problem=microworld --data_dir=data --output_dir=run/averaged"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.quiet import import_tensorflow


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "output_dir")
    count = "How many of the last checkpoints to average; all by default."
    absl_flags.DEFINE_integer("n", None, count, 1, flag_values=flags)
    folder = "Folder of the averaged run, OUTPUT_DIR/averaged by default."
    absl_flags.DEFINE_string("averaged_dir", None, folder, flag_values=flags)


def body(flags: FlagValues) -> None:
    """Averages the checkpoints and prints their steps and the new folder."""
    command.require(flags, "output_dir")
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    averaged_dir = Path(os.path.expanduser(flags.averaged_dir)) if flags.averaged_dir else output_dir / "averaged"
    import_tensorflow()
    from t2t_lite.runs.average_checkpoints import average_checkpoints

    steps = average_checkpoints(output_dir, averaged_dir, flags.n)
    print(f"averaged the checkpoints of the steps {', '.join(map(str, steps))} into {averaged_dir}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-avg-all", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
