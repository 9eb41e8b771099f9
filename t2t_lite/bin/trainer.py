"""Trains one model on all the problems named.

    t2t-trainer --problem=microworld --hparams_set=multimodel_tiny --data_dir=data --output_dir=run --train_steps=1000

The same command resumes a stopped run from its last checkpoint. Ctrl-C and SIGTERM save a checkpoint and exit with
status 130 and 143. Exits with status 1 if most steps were skipped because a loss or gradient was not finite.
Hparams come from the set, then the gin files in order, then the gin bindings, then --hparams; later ones win."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api, registry
from t2t_lite.bin import command
from t2t_lite.onednn import use_onednn

_PASSED_ON = (  # flags that are arguments of `api.train` under the same names
    *("output_dir", "eval_problems", "keep_best", "early_stop_metric", "early_stop_patience", "warm_start_from"),
    *("freeze", "distribute", "worker_gpu", "generate_data", "tmp_dir"),
    *("eval_steps", "eval_every", "eval_decoded", "save_every", "save_minutes", "keep_checkpoints"),
)


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "tmp_dir", "output_dir", "eval_problems")
    string, integer, boolean = absl_flags.DEFINE_string, absl_flags.DEFINE_integer, absl_flags.DEFINE_bool
    several = absl_flags.DEFINE_multi_string
    string("hparams_set", None, "The hparams to start from.", flag_values=flags)
    string("hparams", "", 'Hparams to change, as "hidden_size=64,dropout=0.1".', flag_values=flags)
    several("gin_file", [], "A gin file, or several separated by commas", flag_values=flags)
    several("gin_param", [], 'A gin binding, as "hparams.dropout=0.1"', flag_values=flags)
    string("model", "multi_model", "The model to train.", flag_values=flags)
    integer("train_steps", None, "The step to train to, counting the steps of all problems.", 1, flag_values=flags)
    integer("eval_steps", 20, "Batches of each problem in an evaluation.", 1, flag_values=flags)
    integer("eval_every", 1000, "Steps between evaluations.", 1, flag_values=flags)
    decoded = "Also score decoded answers in evaluations (BLEU, error rates), which takes longer."
    boolean("eval_decoded", False, decoded, flag_values=flags)
    integer("save_every", None, "Steps between checkpoints; --eval_every by default.", 1, flag_values=flags)
    minutes = "Also save when so many minutes have passed since the last checkpoint; 0: never."
    integer("save_minutes", 0, minutes, 0, flag_values=flags)
    integer("keep_checkpoints", 3, "How many of the last checkpoints to keep.", 1, flag_values=flags)
    metric = "PROBLEM:METRIC, or METRIC for the mean over problems"
    string("keep_best", "loss", f"Also keep the best checkpoint, by {metric}.", flag_values=flags)
    string("early_stop_metric", None, f"Stop when it no longer improves: {metric}.", flag_values=flags)
    integer("early_stop_patience", None, "Stop after as many evaluations without improvement.", 1, flag_values=flags)
    string("warm_start_from", None, "A run, or RUN/checkpoints/ckpt-N: begin with its weights.", flag_values=flags)
    frozen = "Parts of the model, and problems, that training leaves as they are, as encoder,image."
    absl_flags.DEFINE_list("freeze", [], frozen, flag_values=flags)
    generate = "First generate the data that are missing, as t2t-datagen does, from --tmp_dir if they need raw files."
    boolean("generate_data", False, generate, flag_values=flags)
    string("profile_steps", None, "A,B: the first and the last step of a TensorFlow profile.", flag_values=flags)
    distribute = "One device, the GPUs of this machine, or the machines in TF_CONFIG; auto: all that are available."
    choices = ["auto", "one_device", "mirrored", "multi_worker"]
    absl_flags.DEFINE_enum("distribute", "auto", choices, distribute, flag_values=flags)
    replicas = "Replicas on this machine; 0: one for each GPU. Without GPUs, the CPU is divided into so many."
    integer("worker_gpu", 0, replicas, 0, flag_values=flags)
    boolean("registry_help", False, "List everything that is registered, and exit.", flag_values=flags)
    boolean("dry_run", False, "Print parameters, FLOPs, memory and the mixture, and exit.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Lists, estimates or trains."""
    if flags.registry_help:
        kinds = (registry.problems, registry.mixtures, registry.metrics, registry.modalities, registry.models)
        command.print_registries(*kinds, registry.hparams_sets, registry.suites)
        return
    command.require(
        flags, "problem", "hparams_set", "data_dir", *([] if flags.dry_run else ["output_dir", "train_steps"])
    )
    for name in ("train_steps", "eval_steps"):
        if (flags[name].value or 0) > api.MAX_STEPS:
            raise command.FlagError(f"--{name}={flags[name].value}: expected at most {api.MAX_STEPS:,}")
    shared = {
        "problem": flags.problem,
        "data_dir": flags.data_dir,
        "train_steps": flags.train_steps,
        "model": flags.model,
        "hparams_set": flags.hparams_set,
        "hparams": flags.hparams,
        "gin_files": _gin_files(flags),
        "gin_params": flags.gin_param,
    }
    if flags.dry_run:
        api.dry_run(**shared, freeze=flags.freeze)
        return
    profile_steps = command.number_pair(flags, "profile_steps")
    chosen = {name: flags[name].value for name in _PASSED_ON}
    api.train(**shared, **chosen, profile_steps=profile_steps, num_workers=None, usr_dirs=flags.t2t_usr_dir)


def _gin_files(flags: FlagValues) -> list[str]:
    """Returns the files of --gin_file; the name of a file may itself have a comma."""
    return [file for v in flags.gin_file for file in ([v] if Path(os.path.expanduser(v)).is_file() else v.split(","))]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    use_onednn()  # before the user's own files import TensorFlow
    return command.run("t2t-trainer", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
