"""Trains and compares the runs of a suite: joint against alone, a small problem, ablation, models, transfer.

    t2t-experiments --suite=microworld --output_dir=E --plan
    t2t-experiments --suite=microworld --output_dir=E
    t2t-experiments --suite=real_eight --output_dir=E --tmp_dir=raw --seeds=1 --only=joint_vs_alone
    t2t-experiments --report=run,other_run --output_dir=E

Writes results.json, tables (results.md) and a page (index.html) of scores on the test split. The same command goes on
after it was stopped; more seeds or tables are added to what is there."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import registry
from t2t_lite.bin import command
from t2t_lite.errors import did_you_mean
from t2t_lite.experiments.plan import METHODS, MULTI_MODEL, OF_MULTI_MODEL, Plan
from t2t_lite.experiments.runner import Experiments, report_runs
from t2t_lite.experiments.suite import TABLES
from t2t_lite.onednn import use_onednn


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    string, integer, boolean = absl_flags.DEFINE_string, absl_flags.DEFINE_integer, absl_flags.DEFINE_bool
    lists = absl_flags.DEFINE_list
    string("suite", None, "The suite: microworld, real_eight, or one of your own.", flag_values=flags)
    string("output_dir", None, "Folder of the suite: its runs, its data and its results.", flag_values=flags)
    lists("only", [], f"Tables: {', '.join(TABLES)}. Default: all.", flag_values=flags)
    integer("seeds", 3, "How many seeds.", 1, flag_values=flags)
    integer("train_steps", None, "Steps of joint training. Default: those of the suite.", 1, flag_values=flags)
    string("hparams_set", None, "The hparams to start from. Default: those of the suite.", flag_values=flags)
    string("hparams", "", 'Hparams to change, as "hidden_size=64,dropout=0.1".', flag_values=flags)
    string("model", MULTI_MODEL, "The model to train.", flag_values=flags)
    string(
        "data_dir", None, "Folder of the data; missing ones are generated. Default: OUTPUT_DIR/data.", flag_values=flags
    )
    targets = "Problems that table transfer is about, or all. Default: the suite's small problem."
    lists("transfer_targets", [], targets, flag_values=flags)
    methods = "pair: a target trained with one other problem; leave_one_out: all of them without one; or both."
    lists("transfer_method", ["pair"], methods, flag_values=flags)
    boolean("plan", False, "Print the runs and the time that they will take, and exit.", flag_values=flags)
    lists("report", [], "Runs of yours: write a page about them into OUTPUT_DIR, and exit.", flag_values=flags)
    integer(
        "num_workers", None, "Worker processes that generate data. Default: one per processor.", 1, flag_values=flags
    )
    integer(
        "processes",
        1,
        "Runs trained at a time, each in a process of its own with its share of the processors.",
        1,
        flag_values=flags,
    )
    command.define_shared(flags, "tmp_dir")


def body(flags: FlagValues) -> None:
    """Plans, trains, or writes a page about given runs."""
    if flags.report:
        _report(flags)
        return
    command.require(flags, "suite", "output_dir")
    for name, known in (("only", TABLES), ("transfer_method", METHODS)):
        for value in flags[name].value:
            if value not in known:
                raise command.FlagError(f"--{name}: unknown '{value}'{did_you_mean(value, known)}")
    suite = registry.suites.get(flags.suite)
    steps = flags.train_steps or suite.train_steps
    targets = suite.problems if flags.transfer_targets == ["all"] else flags.transfer_targets
    tables = flags.only or [name for name in TABLES if flags.model == MULTI_MODEL or name not in OF_MULTI_MODEL]
    plan = Plan(suite, steps, range(flags.seeds), tables, targets, flags.transfer_method)
    folder = _path(flags.output_dir)
    experiments = Experiments(
        suite=flags.suite,
        plan=plan,
        folder=folder,
        data_dir=_path(flags.data_dir) if flags.data_dir else folder / "data",
        hparams_set=flags.hparams_set or suite.hparams_set,
        hparams=flags.hparams,
        model=flags.model,
        processes=flags.processes,
    )
    experiments.check()
    if flags.plan:
        print(experiments.describe_plan())
        return
    tmp_dir = command.existing_folder(flags, "tmp_dir", suite.raw_advice or "give it") if flags.tmp_dir else None
    results = experiments.run(tmp_dir, flags.num_workers, flags.t2t_usr_dir)
    for table in (*results["tables"], *results["transfer"]):
        print(f"{table['title']}: {table['claim']['sentence']}")
    for note in results["notes"]:
        print(note)
    experiments.write_page(results)
    print(f"{folder / 'results.md'} has the tables")


def _report(flags: FlagValues) -> None:
    command.require(flags, "output_dir")
    data_dir = _path(flags.data_dir) if flags.data_dir else None
    report_runs([_path(folder) for folder in flags.report], _path(flags.output_dir), data_dir)


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    use_onednn()  # before the user's own files import TensorFlow
    return command.run("t2t-experiments", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
