"""Trains one model on all the problems named.

    t2t-trainer --problem=microworld --hparams_set=multimodel_tiny --data_dir=data --output_dir=run --train_steps=1000

The same command resumes a stopped run from its last checkpoint. Ctrl-C and SIGTERM save a checkpoint and exit with
status 130 and 143. Exits with status 1 if most steps were skipped because a loss or gradient was not finite.
Hparams come from the set, then the gin files in order, then the gin bindings, then --hparams; later ones win."""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import command
from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems.problem import get_problems
from t2t_lite.quiet import import_tensorflow
from t2t_lite.training.early_stopping import EvaluationTracker
from t2t_lite.training.stop_signals import StopSignals

_MAX_STEPS = 2**31 - 1  # steps are int32 in noise


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags, "problem", "data_dir", "output_dir", "eval_problems")
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
    integer("keep_checkpoints", 3, "How many of the last checkpoints to keep.", 1, flag_values=flags)
    metric = "PROBLEM:METRIC, or METRIC for the mean over problems"
    string("keep_best", "loss", f"Also keep the best checkpoint, by {metric}.", flag_values=flags)
    string("early_stop_metric", None, f"Stop when it no longer improves: {metric}.", flag_values=flags)
    integer("early_stop_patience", None, "Stop after as many evaluations without improvement.", 1, flag_values=flags)
    string("warm_start_from", None, "A run, or RUN/checkpoints/ckpt-N: begin with its weights.", flag_values=flags)
    string("profile_steps", None, "A,B: the first and the last step of a TensorFlow profile.", flag_values=flags)
    distribute = "One device, the GPUs of this machine, or the machines in TF_CONFIG; auto: all that are available."
    choices = ["auto", "one_device", "mirrored", "multi_worker"]
    absl_flags.DEFINE_enum("distribute", "auto", choices, distribute, flag_values=flags)
    replicas = "Replicas on this machine; 0: one for each GPU. Without GPUs, the CPU is divided into so many."
    integer("worker_gpu", 0, replicas, 0, flag_values=flags)
    boolean("registry_help", False, "List everything that is registered, and exit.", flag_values=flags)
    boolean("dry_run", False, "Print parameters, FLOPs, memory and the mixture, and exit.", flag_values=flags)


def body(flags: FlagValues) -> None:
    """Resolves names and hparams, then trains."""
    if flags.registry_help:
        kinds = (registry.problems, registry.mixtures, registry.metrics, registry.modalities, registry.models)
        command.print_registries(*kinds, registry.hparams_sets)
        return
    command.require(
        flags, "problem", "hparams_set", "data_dir", *([] if flags.dry_run else ["output_dir", "train_steps"])
    )
    for name in ("train_steps", "eval_steps"):
        if (flags[name].value or 0) > _MAX_STEPS:
            raise command.FlagError(f"--{name}={flags[name].value}: expected at most {_MAX_STEPS:,}")
    problems = get_problems(flags.problem)
    registry.models.check(flags.model)
    hparams = resolve_hparams(flags)
    hparams.check_names("loss_weights", problems)
    evaluated = _evaluated(flags, problems)
    tracker = _tracker(flags, evaluated)
    profile_steps = command.number_pair(flags, "profile_steps")
    data_dir = command.existing_folder(flags, "data_dir", "t2t-datagen makes it")
    import_tensorflow()
    if flags.dry_run:
        from t2t_lite.training.dry_run import dry_run

        dry_run(
            names=flags.problem,
            problems=problems,
            hparams=hparams,
            model=flags.model,
            data_dir=data_dir,
            train_steps=flags.train_steps,
        )
        return
    from t2t_lite.runs.memory import explain_out_of_memory, smaller_batch
    from t2t_lite.training.devices import open_devices
    from t2t_lite.training.train import Plan, train

    plan = Plan(
        train_steps=flags.train_steps,
        eval_steps=flags.eval_steps,
        eval_every=flags.eval_every,
        eval_decoded=flags.eval_decoded,
        save_every=flags.save_every or flags.eval_every,
        keep_checkpoints=flags.keep_checkpoints,
        eval_problems=evaluated,
        profile_steps=profile_steps,
        warm_start_from=Path(os.path.expanduser(flags.warm_start_from)) if flags.warm_start_from else None,
    )
    # Before StopSignals, because TensorFlow's cluster installs a handler of SIGTERM when it starts.
    devices = open_devices(flags.distribute, flags.worker_gpu)
    with StopSignals() as stop, explain_out_of_memory("training", smaller_batch(hparams)):
        train(
            names=flags.problem,
            problems=problems,
            hparams=hparams,
            model=flags.model,
            data_dir=data_dir,
            output_dir=Path(os.path.expanduser(flags.output_dir)),
            plan=plan,
            devices=devices,
            tracker=tracker,
            stop=stop,
        )


def _evaluated(flags: FlagValues, problems: Collection[str]) -> tuple[str, ...]:
    """Returns the problems to evaluate: those of --eval_problems, or all."""
    names = tuple(get_problems(flags.eval_problems)) or tuple(problems)
    for name in names:
        if name not in problems:
            raise command.FlagError(f"--eval_problems: '{name}' is not trained here{did_you_mean(name, problems)}")
    return names


def _tracker(flags: FlagValues, evaluated: Collection[str]) -> EvaluationTracker:
    """Returns the tracker of the best checkpoint and of early stopping that the flags describe."""
    if bool(flags.early_stop_metric) != bool(flags.early_stop_patience):
        raise command.FlagError("--early_stop_metric and --early_stop_patience belong together")
    return EvaluationTracker(evaluated, flags.keep_best, flags.early_stop_metric or "", flags.early_stop_patience or 1)


def resolve_hparams(flags: FlagValues) -> HParams:
    """Returns the hparams of the run from the set, gin files, gin bindings and --hparams."""
    make = registry.hparams_sets.get(flags.hparams_set)
    try:
        start = make()
    except TypeError as e:
        raise UserError(f"--hparams_set: '{flags.hparams_set}' fails: {e}") from e
    if not isinstance(start, HParams):
        raise UserError(f"--hparams_set: '{flags.hparams_set}' must return HParams, not {type(start).__name__}")
    # A file's own name may have a comma.
    files = [file for v in flags.gin_file for file in ([v] if Path(os.path.expanduser(v)).is_file() else v.split(","))]
    return gin_config.resolve(start, files, flags.gin_param, flags.hparams)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-trainer", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
