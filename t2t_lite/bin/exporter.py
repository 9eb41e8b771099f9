"""Exports problems of a trained run as a SavedModel, which plain TensorFlow and t2t-server load.

t2t-exporter --problem=microworld --output_dir=run --export_dir=export

Each problem has a signature of its name. It takes texts or contents of PNG, JPEG or WAV files, as strings, and returns
texts or names of classes with their scores. The export leaves out parts of the model that the problems do not need."""

import dataclasses
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api
from t2t_lite.api.trained_run import WEIGHT_TYPES
from t2t_lite.bin import command
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.problems.problem import get_problems


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    string = absl_flags.DEFINE_string
    string("export_dir", None, "Folder of the export; an earlier export there is replaced.", flag_values=flags)
    known = ", ".join(DecodeHParams.describe())
    string("decode_hparams", "", f'Decode hparams, such as "beam_size=4". Known: {known}.', flag_values=flags)
    string("checkpoint", "latest", "The checkpoint to export: latest, best or a step.", flag_values=flags)
    how = "Type in which weights are stored: float32, bfloat16 or int8. Computation is in float32."
    absl_flags.DEFINE_enum("weights", "float32", WEIGHT_TYPES, how, flag_values=flags)
    steps = "Batches of each problem's dev split on which quantized weights are evaluated, if --data_dir is given."
    absl_flags.DEFINE_integer("eval_steps", 5, steps, 1, flag_values=flags)


def body(flags: FlagValues) -> None:
    """Writes the export."""
    command.require(flags, "problem", "output_dir", "export_dir")
    names = list(get_problems(flags.problem))
    output_dir = command.existing_folder(flags, "output_dir", "t2t-trainer makes it")
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it") if flags.data_dir else None
    settings = dataclasses.asdict(DecodeHParams.parse(flags.decode_hparams))
    run = api.open_run(output_dir, checkpoint=flags.checkpoint)
    run.export(
        flags.export_dir, names, data_dir=data_dir, weights=flags.weights, eval_steps=flags.eval_steps, **settings
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-exporter", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
