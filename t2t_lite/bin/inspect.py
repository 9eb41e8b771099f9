"""Prints statistics and examples of a problem's data, and draws its pictures and sounds as PNG files.

t2t-inspect --problem=microworld_image,microworld_ende --data_dir=data"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite.bin import command
from t2t_lite.problems.problem import get_problems


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir")
    absl_flags.DEFINE_string("split", "train", "The split to show.", flag_values=flags)
    absl_flags.DEFINE_string(
        "out_dir", None, "Folder of the PNG files, DATA_DIR/inspect unless given.", flag_values=flags
    )
    absl_flags.DEFINE_integer("examples", 5, "The number of examples to print.", 0, flag_values=flags)


def body(flags: FlagValues) -> None:
    """Prints the reports and draws the pictures."""
    command.require(flags, "problem", "data_dir")
    names = list(get_problems(flags.problem))
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
    out_dir = Path(os.path.expanduser(flags.out_dir)) if flags.out_dir else data_dir / "inspect"
    from t2t_lite.data.inspection import Inspection
    from t2t_lite.escapes import escape_controls

    for name in names:
        inspection = Inspection(data_dir, name, flags.split)
        print(inspection.report(flags.examples))
        for path in inspection.draw(out_dir):
            print(f"  drawn: {escape_controls(str(path))}")
        print()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-inspect", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
