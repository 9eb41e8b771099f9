"""Trains one model on all the problems named.

    t2t-trainer --problem=microworld --hparams_set=multimodel_tiny --data_dir=data --output_dir=run --train_steps=1000

A run that stopped goes on from its last checkpoint. Hparams: the set, then the gin files in the order given, then the
gin bindings, then --hparams; the later ones win."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import command
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems.problem import get_problems
from t2t_lite.quiet import import_tensorflow


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir")
    string, integer, boolean = absl_flags.DEFINE_string, absl_flags.DEFINE_integer, absl_flags.DEFINE_bool
    several = absl_flags.DEFINE_multi_string
    string("hparams_set", None, "The hparams to start from.", flag_values=flags)
    string("hparams", "", 'Hparams to change, as "hidden_size=64,dropout=0.1".', flag_values=flags)
    several("gin_file", [], "A gin file, or several separated by commas", flag_values=flags)
    several("gin_param", [], 'A gin binding, as "hparams.dropout=0.1"', flag_values=flags)
    string("model", "multi_model", "The model to train.", flag_values=flags)
    integer("train_steps", None, "The step to train to, all problems together.", 1, flag_values=flags)
    integer("eval_steps", 20, "Batches of each problem in an evaluation.", 1, flag_values=flags)
    integer("eval_every", 1000, "Steps between evaluations, and between checkpoints.", 1, flag_values=flags)
    where = (
        "The devices: one, all GPUs of this machine, or those of the machines in TF_CONFIG. auto: the most there are."
    )
    ways = ["auto", "one_device", "mirrored", "multi_worker"]
    absl_flags.DEFINE_enum("distribute", "auto", ways, where, flag_values=flags)
    integer(
        "worker_gpu", 0, "Replicas on this machine; 0: one a GPU. Without GPUs, parts of the CPU.", 0, flag_values=flags
    )
    boolean("registry_help", False, "List all that is registered, and do nothing else.", flag_values=flags)
    boolean("dry_run", False, "Print parameters, FLOPs, memory and the mixture, and stop.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Resolves names and hparams, then makes the one call that trains."""
    if flags.registry_help:
        kinds = (registry.problems, registry.mixtures, registry.modalities, registry.models, registry.hparams_sets)
        command.print_registries(*kinds)
        return
    command.require(
        flags, "problem", "hparams_set", "data_dir", *([] if flags.dry_run else ["output_dir", "train_steps"])
    )
    problems = get_problems(flags.problem)
    registry.models.check(flags.model)
    hparams = resolve_hparams(flags)
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
    import_tensorflow()
    if flags.dry_run:
        from t2t_lite.training.dry_run import dry_run

        dry_run(names=flags.problem, problems=problems, hparams=hparams, model=flags.model, data_dir=data_dir)
        return
    from t2t_lite.training.train import train

    train(
        names=flags.problem,
        problems=problems,
        hparams=hparams,
        model=flags.model,
        data_dir=data_dir,
        output_dir=Path(flags.output_dir).expanduser(),
        train_steps=flags.train_steps,
        eval_steps=flags.eval_steps,
        eval_every=flags.eval_every,
        distribute=flags.distribute,
        worker_gpu=flags.worker_gpu,
    )


def resolve_hparams(flags: FlagValues) -> HParams:
    """Returns the hparams of the run: set, gin files, gin bindings, --hparams."""
    start = registry.hparams_sets.get(flags.hparams_set)()
    files = [file for value in flags.gin_file for file in value.split(",")]
    return gin_config.resolve(start, files, flags.gin_param, flags.hparams)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-trainer", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
