"""Trains and scores the runs of a suite that are missing, and writes its results."""

import contextlib
import gc
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2t_lite import api, registry
from t2t_lite.api.arguments import start_tensorflow
from t2t_lite.api.training import resolve_training
from t2t_lite.data.manifest import Manifest, manifest_path, write_atomically
from t2t_lite.errors import DivergedError, FlagError, Stopped, UserError
from t2t_lite.experiments.outcome import CUT_SHORT, DIVERGED, FINISHED, MISSING, Outcome
from t2t_lite.experiments.parallel_runs import in_processes
from t2t_lite.experiments.plan import MULTI_MODEL, OF_MULTI_MODEL, TRANSFORMERS, Plan, PlannedRun
from t2t_lite.experiments.results import JSON, SPLIT, make_results, write_results
from t2t_lite.experiments.suite import TABLES
from t2t_lite.hparams import HParams, transformers
from t2t_lite.monitoring.training_display import format_table
from t2t_lite.progress import format_seconds, print_status

SETTINGS = "suite.json"
PAGE = "index.html"
_EVALUATIONS = 4  # on the dev split in the course of a run
_EVAL_STEPS = 5  # batches of each problem in them
_SHOWN = 3  # runs that the page looks into, if there is no joint run
_ONE_PROCESSOR = 1.2  # the time of a run on one processor of its own, as a multiple of that on two
_WARMUP_PART = 5  # warm-up takes at most a fifth of a run's steps


@dataclass(frozen=True)
class Experiments:
    """A suite in its folder, with the settings that all its runs share.

    Attributes:
      suite: the name of the suite.
      plan: its runs.
      folder: the folder of the suite.
      data_dir: the folder of the data.
      hparams_set, hparams, model: as for training.
      processes: runs trained at a time, each in a process of its own; 1 trains in this one.
    """

    suite: str
    plan: Plan
    folder: Path
    data_dir: Path
    hparams_set: str
    hparams: str
    model: str
    processes: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the folder, as suite.json keeps them."""
        names = ("suite", "hparams_set", "hparams", "model")
        settings = {name: getattr(self, name) for name in names}
        return settings | {"train_steps": self.plan.train_steps, "data_dir": self._relative_data_dir}

    @property
    def _relative_data_dir(self) -> str:
        if self.data_dir.resolve().is_relative_to(self.folder.resolve()):
            return str(self.data_dir.resolve().relative_to(self.folder.resolve()))
        return str(self.data_dir.resolve())

    def run_folder(self, name: str) -> Path:
        """The folder of a run."""
        return self.folder / "runs" / name

    def outcomes(self) -> dict[str, Outcome]:
        """Reads what became of each run so far."""
        return {name: Outcome.load(self.run_folder(name)) for name in self.plan.runs}

    def check(self) -> None:
        """Checks the settings, and that the folder is new or holds this suite with the same settings.

        Raises:
          UserError: a name or a value is wrong, or the folder holds something else.
        """
        base = self._base_hparams()
        path = self.folder / SETTINGS
        if not path.exists():
            others = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
            others = [name for name in others if (self.folder / name).resolve() != self.data_dir.resolve()]
            if others:
                raise UserError(
                    f"--output_dir: {self.folder} holds {others[0]} and no {SETTINGS}, so it is not the folder of a "
                    "suite; give a new one"
                )
            return
        try:
            before = json.loads(path.read_text(encoding="utf8"))
            # Not the flags of the hparams: their values count, and those the runs have.
            now = {key: value for key, value in self.settings.items() if key not in ("hparams_set", "hparams")}
            differences = [f"{key} is {value}, was {before[key]}" for key, value in now.items() if before[key] != value]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise UserError(
                f"{path}: not the settings of a suite ({type(e).__name__}: {e}); give another folder"
            ) from e
        if differences:
            raise UserError(
                f"--output_dir: {self.folder} holds a suite with other settings: {'; '.join(differences)}. Give the "
                "same settings to go on with it, or another folder"
            )
        self._check_trained(base)

    def _check_trained(self, base: HParams) -> None:
        """Raises UserError if a run was trained with other hparams, as after a change of the set in a later version."""
        for name, run in self.plan.runs.items():
            path = self.run_folder(name) / "hparams.json"
            if path.exists():
                trained = HParams.load(path)
                changes = self._run_hparams(run, base).changes_from(trained)
                if trained.decay_steps == run.train_steps:  # what training makes of 0
                    changes.pop("decay_steps", None)
                if changes:
                    raise UserError(
                        f"--output_dir: {path.parent} was trained with other hparams: {'; '.join(changes.values())}. "
                        "Give the same --hparams_set and --hparams to go on, or another folder"
                    )

    def describe_plan(self) -> str:
        """Returns a table of the runs, and a line with their number and the time that is left."""
        outcomes = self.outcomes()
        lines = [["run", "steps", "minutes", "state", "for"]]
        for name, run in self.plan.runs.items():
            minutes = f"{self.plan.estimate(run) * self._speed(outcomes) / 60:.1f}"
            tables = ", ".join(self.plan.used_by[name])
            state = "to train" if outcomes[name].status == MISSING else outcomes[name].status
            lines.append([name, f"{run.train_steps:,}", minutes, state, tables])
        todo = [run for name, run in self.plan.runs.items() if not self._is_done(name, outcomes[name])]
        steps = sum(run.train_steps for run in todo)
        finished = len(self.plan.runs) - len(todo)
        basis = f"measured on {finished} finished runs" if self._timed(outcomes) else "estimated for two idle cores"
        if self.hparams_set != "multimodel_tiny" and not self._timed(outcomes):
            basis = "estimated for multimodel_tiny on two idle cores; measured after the first run"
        left = format_seconds(self._left(outcomes))
        summary = f"{len(todo)} of {len(lines) - 1} runs to train, {steps:,} steps: about {left} ({basis})"
        return f"{format_table(lines)}\n{summary}"

    def run(
        self,
        tmp_dir: Path | None = None,
        num_workers: int | None = None,
        usr_dirs: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Generates the data, trains and scores the runs that are missing, and writes the results.

        Args:
          tmp_dir: raw files of a suite on files.
          num_workers: processes that generate data.
          usr_dirs: the user's own folders.

        Returns:
          The contents of results.json.

        Raises:
          UserError: the folder, the data or the settings are wrong. Finished runs are kept.
          Stopped: Ctrl-C or SIGTERM.
        """
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / SETTINGS, (json.dumps(self.settings, indent=1) + "\n").encode("utf8"))
        print_status(self.describe_plan())
        try:
            self._generate(tmp_dir, num_workers, usr_dirs)
            outcomes = self.outcomes()
            missing = [name for name in self.plan.runs if not self._is_done(name, outcomes[name])]
            if self.processes > 1:
                events = in_processes(missing, self.finish, self.run_folder, self.processes, usr_dirs)
                with contextlib.closing(events):
                    for name, ended in events:
                        report = self._print_end if ended else self._print_start
                        report(name)
            else:
                for name in missing:
                    self._print_start(name)
                    self.finish(name)
                    self._print_end(name)
        except (KeyboardInterrupt, Stopped) as e:
            self.write_results()
            if isinstance(e, Stopped):
                raise
            raise Stopped("interrupted; finished runs are kept", 130) from None
        return self.write_results()

    def write_results(self) -> dict[str, Any]:
        """Writes results.json and results.md; returns the results.

        Seeds, tables, targets and methods of earlier calls are kept, so that no result is lost.
        """
        settings = {key: value for key, value in self.settings.items() if key != "data_dir"}
        plan, asked = self._plan_with_earlier_calls()
        outcomes = {name: Outcome.load(self.run_folder(name)) for name in plan.runs}
        results = make_results(self.suite, plan, settings, outcomes, self._relative_data_dir, asked)
        write_results(self.folder, results)
        return results

    def _plan_with_earlier_calls(self) -> tuple[Plan, set[str]]:
        """Returns the union of the plan with what results.json has, and the names of the runs asked for so far.

        The union may have more runs: after three seeds of one table and one seed of another it has three of both.
        """
        plan = self.plan
        try:
            before = json.loads((self.folder / JSON).read_text(encoding="utf8"))
            calls = [before["settings"], plan.request]
            seeds = sorted({seed for call in calls for seed in call["seeds"]})
            tables = [table for table in TABLES if any(table in call["tables"] for call in calls)]
            transfers = [call for call in calls if "transfer" in call["tables"]] or [plan.request]
            targets, methods = (
                list(dict.fromkeys(each for call in transfers for each in call[key]))
                for key in ("transfer_targets", "transfer_methods")
            )
            union = Plan(plan.suite, plan.train_steps, seeds, tables, targets, methods)
            return union, {*plan.runs, *(run["name"] for run in before["runs"])}
        except (OSError, ValueError, KeyError, TypeError, UserError):
            return plan, set(plan.runs)

    def write_page(self, results: Mapping[str, Any]) -> None:
        """Writes index.html; looks into the joint run of the first seed.

        Without a joint run it looks into the first few others.
        """
        finished = [run["name"] for run in results["runs"] if run["status"] == FINISHED]
        shown = [name for name in finished if name.startswith("joint-")][:1] or finished[:_SHOWN]
        if shown:
            _write_page([self.run_folder(name) for name in shown], self.folder / PAGE, results)

    def _base_hparams(self) -> HParams:
        """Returns the hparams that all runs share.

        Raises:
          UserError: a problem, a set, the model or a value is wrong, or they set what the suite sets.
        """
        problems, base = resolve_training(self.plan.suite.problems, self.hparams_set, self.hparams, model=self.model)
        base.check_names("batch_multipliers", problems)
        if base.mixture != "rates" or base.mixture_unit != "steps" or base.mixture_rates:
            raise FlagError(
                "--hparams: mixture, mixture_unit and mixture_rates are set by the suite, so that each problem has the "
                "same number of steps jointly and alone"
            )
        if self.model != MULTI_MODEL:
            for table in OF_MULTI_MODEL:
                if table in self.plan.tables:
                    raise FlagError(f"--only={table}: that table is of the MultiModel; leave out --model={self.model}")
            start_tensorflow()
            model = registry.models.get(self.model)
            if hasattr(model, "check_unread"):  # a user's own model may lack it
                model.check_unread(base)
        return base

    def _run_hparams(self, run: PlannedRun, base: HParams) -> HParams:
        """Returns the hparams of a run; of numbers for single problems only those of its problems."""
        if run.transformer:
            base = getattr(transformers, TRANSFORMERS[run.transformer])(base)
        own = {}
        for field in ("loss_weights", "batch_multipliers"):
            items = [item for item in getattr(base, field).split(",") if item.rpartition(":")[0].strip() in run.steps]
            own[field] = ",".join(items)
        warmup = min(base.warmup_steps, run.train_steps // _WARMUP_PART)
        return base.replace(**own, **run.hparams(), warmup_steps=warmup)

    def _generate(self, tmp_dir: Path | None, num_workers: int | None, usr_dirs: Sequence[str]) -> None:
        """Generates the data that are missing: those of the tasks together, then those of the small problem.

        Always of all tasks, because the vocabulary is built from the text of the problems that are generated together.
        """
        from t2t_lite import datagen

        suite = self.plan.suite
        for names in (list(suite.tasks), [name for name in suite.problems if name not in suite.tasks]):
            missing = [name for name in names if not self._has_data(name)]
            if missing and suite.raw_files and tmp_dir is None and not (self.data_dir / "raw").is_dir():
                raise FlagError(
                    f"--tmp_dir is required: problem '{missing[0]}' has no data with a {SPLIT} split in {self.data_dir}"
                    + (f"; {suite.raw_advice}" if suite.raw_advice else "")
                )
            if missing:
                datagen.datagen(
                    missing, self.data_dir, tmp_dir, num_workers=num_workers, usr_dirs=usr_dirs, test_split=True
                )
            for name in missing:
                if not self._has_data(name):
                    raise UserError(
                        f"problem '{name}' has no {SPLIT} split in {self.data_dir}: put its {SPLIT} files beside those "
                        f'of dev; a problem of your own declares `splits = ("train", "dev", "{SPLIT}")`'
                    )

    def _has_data(self, name: str) -> bool:
        return manifest_path(self.data_dir, name).exists() and SPLIT in Manifest.load(self.data_dir, name).splits

    def finish(self, name: str) -> None:
        """Trains and scores a run, or what of that is missing; records what became of it."""
        start_tensorflow()
        run, folder, base = self.plan.runs[name], self.run_folder(name), self._base_hparams()
        outcome = Outcome.load(folder)
        start, before = time.monotonic(), outcome.seconds
        try:
            outcome.status = CUT_SHORT
            self._train_and_score(run, base, outcome)
            outcome.status = FINISHED
        except DivergedError as e:
            outcome.status, outcome.message = DIVERGED, str(e)
        finally:
            if outcome.status != FINISHED:
                outcome.step = _last_step(folder)
            outcome.seconds = before + time.monotonic() - start
            outcome.save(folder)
            gc.collect()  # models are in cycles; the next run needs the memory of this one

    def _title(self, name: str) -> str:
        return f"[{list(self.plan.runs).index(name) + 1}/{len(self.plan.runs)}] {name}"

    def _print_start(self, name: str) -> None:
        run = self.plan.runs[name]
        steps = ", ".join(f"{count:,} of {problem}" for problem, count in run.steps.items())
        print_status(f"\n{self._title(name)}: {run.train_steps:,} steps: {steps}")

    def _print_end(self, name: str) -> None:
        self.write_results()
        outcomes = self.outcomes()
        outcome, left = outcomes[name], format_seconds(self._left(outcomes))
        what = f"{outcome.status}: {outcome.message}" if outcome.message else outcome.status
        print_status(f"{self._title(name)}: {what} after {format_seconds(outcome.seconds)}; about {left} left")

    def _train_and_score(self, run: PlannedRun, base: HParams, outcome: Outcome) -> None:
        trained = self._train(run, base, self.run_folder(run.name))
        outcome.step, outcome.parameters = run.train_steps, trained.parameters
        unscored = [name for name in self.plan.scored[run.name] if name not in outcome.scores]
        outcome.scores |= trained.evaluate(unscored, self.data_dir, split=SPLIT)["problems"]
        _check_finite(outcome.scores)

    def _train(self, run: PlannedRun, base: HParams, folder: Path) -> api.TrainedRun:
        if _last_step(folder) == run.train_steps:  # killed while it was scored
            return api.open_run(folder)
        every = math.ceil(run.train_steps / _EVALUATIONS)
        return api.train(
            list(run.problems),
            self.data_dir,
            folder,
            train_steps=run.train_steps,
            hparams=self._run_hparams(run, base),
            model="transformer" if run.transformer else self.model,
            eval_every=every,
            eval_steps=_EVAL_STEPS,
            keep_checkpoints=1,
        )

    def _is_done(self, name: str, outcome: Outcome) -> bool:
        scored = outcome.scores.keys() >= set(self.plan.scored[name])
        return outcome.status == DIVERGED or (outcome.status == FINISHED and scored)

    def _timed(self, outcomes: Mapping[str, Outcome]) -> list[str]:
        return [name for name, each in outcomes.items() if each.status == FINISHED and each.seconds]

    def _speed(self, outcomes: Mapping[str, Outcome]) -> float:
        """Returns the time of the finished runs as a multiple of its estimate; an estimate if none is finished."""
        timed = self._timed(outcomes)
        expected = sum(self.plan.estimate(self.plan.runs[name]) for name in timed)
        if not timed:
            return 1.0 if self.processes == 1 else _ONE_PROCESSOR
        return sum(outcomes[name].seconds for name in timed) / expected

    def _left(self, outcomes: Mapping[str, Outcome]) -> float:
        """Returns the seconds that the runs left will take, if all processes stay busy."""
        seconds = 0.0
        for name, run in self.plan.runs.items():
            if not self._is_done(name, outcomes[name]):
                seconds += self.plan.estimate(run) * (1 - min(1.0, outcomes[name].step / run.train_steps))
        return seconds * self._speed(outcomes) / self.processes


def report_runs(folders: Sequence[Path], output_dir: Path, data_dir: Path | None = None) -> None:
    """Writes a page about any runs into a folder, which is made.

    Raises:
      UserError: a folder is not a run, or there is no folder of data.
    """
    start_tensorflow()
    from t2t_lite.report.facts import check_folder

    for folder in folders:
        check_folder(folder)
    output_dir.mkdir(parents=True, exist_ok=True)
    _write_page(folders, output_dir / PAGE, None, data_dir)


def _write_page(
    folders: Sequence[Path], path: Path, results: Mapping[str, Any] | None, data_dir: Path | None = None
) -> None:
    start_tensorflow()
    from t2t_lite.report import write_report

    write_report(folders, path, results, data_dir=data_dir)
    print_status(f"{path} is written")


def _last_step(folder: Path) -> int:
    """Returns the step of a run's last checkpoint; 0 if it has none."""
    from t2t_lite.runs.checkpoints import finished_steps

    return max(finished_steps(folder), default=0)


def _check_finite(scores: Mapping[str, Mapping[str, Any]]) -> None:
    for name, row in scores.items():
        if not math.isfinite(row["loss"]):
            raise DivergedError(f"the loss of problem '{name}' on the {SPLIT} split is not finite")
