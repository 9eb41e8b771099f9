"""Makes the tables of a suite from the outcomes of its runs; docs/experiments.md describes the format."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from t2t_lite.experiments.outcome import FINISHED, Outcome
from t2t_lite.experiments.paper import PAPER
from t2t_lite.experiments.plan import ABLATIONS, TRANSFORMERS, Plan, PlannedRun
from t2t_lite.experiments.statistics import Comparison, compare, mean, spread
from t2t_lite.problems.features import Label
from t2t_lite.problems.problem import get_problem

METRIC = "log_perplexity"  # what comparisons are of
# {metric of decoded answers: (label, "higher" or "lower" is better, format)}
FIGURES = {
    "bleu": ("BLEU", "higher", "number"),
    "accuracy_trees": ("whole trees", "higher", "percent"),
    "wer": ("word errors", "lower", "percent"),
    "cider_d": ("CIDEr-D", "higher", "number"),
    "chrf": ("chrF", "higher", "number"),
    "cer": ("character errors", "lower", "percent"),
    "accuracy": ("classes right", "higher", "percent"),
}
_COLUMNS = (
    {"key": "log_perplexity", "label": "log-perplexity", "better": "lower", "format": "nats"},
    {"key": "accuracy", "label": "accuracy", "better": "higher", "format": "percent"},
    {"key": "accuracy_per_sequence", "label": "whole sequences", "better": "higher", "format": "percent"},
    {"key": "figure", "label": "decoded", "better": "", "format": ""},
)
_PARAMETERS = {"key": "parameters", "label": "parameters", "better": "", "format": "integer"}
_STEPS = {"key": "steps", "label": "training steps", "better": "", "format": "integer"}
_VARIANTS = {
    "joint": "joint",
    "alone": "alone",
    "with_all": "with all others",
    "all_blocks": "all blocks",
    "no_experts": "without experts",
    "no_attention": "without attention",
    "multi_model": "the MultiModel",
    "transformer_parameters": "a Transformer of equal parameters",
    "transformer_flops": "a Transformer of equal FLOPs",
}

Outcomes = Mapping[str, Outcome]  # by name of run


def format_value(value: float | None, kind: str) -> str:
    """Returns a figure as text: "nats" 1.234, "percent" 56.7%, "number" 56.7, "integer" 1,234."""
    if value is None or not math.isfinite(value):
        return "-"
    templates = {"nats": "{:.3f}", "percent": "{:.1%}", "integer": "{:,.0f}"}
    return templates.get(kind, "{:.1f}").format(value)


def make_tables(plan: Plan, outcomes: Outcomes, asked: Collection[str]) -> dict[str, Any]:
    """Returns {"problems", "runs", "tables", "transfer", "notes"} of the results; runs are those asked for."""
    builder = _Builder(plan, outcomes)
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "joint_vs_alone": builder.joint_vs_alone,
        "small_problem": builder.small_problem,
        "ablation": builder.ablation,
        "models": builder.models,
    }
    return {
        "problems": {name: builder.problem(name) for name in plan.suite.problems},
        "tables": [make() for name, make in makers.items() if name in plan.tables],
        "transfer": [builder.transfer(method) for method in plan.methods] if "transfer" in plan.tables else [],
        "runs": [builder.run(run) for name, run in plan.runs.items() if name in asked],
        "notes": list(builder.notes(asked)),
    }


class _Builder:
    """Makes tables of one plan and its outcomes."""

    def __init__(self, plan: Plan, outcomes: Outcomes):
        self._plan, self._suite, self._outcomes = plan, plan.suite, outcomes
        self._figures = {name: _main_figure(name) for name in plan.suite.problems}

    def joint_vs_alone(self) -> dict[str, Any]:
        """Table 2: each problem jointly and alone, with the same number of steps of it."""
        rows, comparisons = [], []
        for name in self._suite.tasks:
            joint = [self._plan.joint(seed) for seed in self._plan.seeds]
            alone = [self._plan.alone(name, seed) for seed in self._plan.seeds]
            rows += [
                self._row("joint_vs_alone", name, "joint", joint),
                self._row("joint_vs_alone", name, "alone", alone),
            ]
            comparisons.append(self._comparison(name, "joint", joint, "alone", alone))
        claim = "Joint training costs problems with much data little, and helps problems with little data much."
        return {
            "name": "joint_vs_alone",
            "title": "Joint against alone, with the same number of steps of each problem",
            "paper_table": 2,
            "columns": [_STEPS, *_COLUMNS],
            "rows": rows,
            "comparisons": comparisons,
            "claim": self._claim(claim, comparisons, "Trained jointly", "problems", least_better=1),
        }

    def small_problem(self) -> dict[str, Any]:
        """Table 3: a small problem alone, with one of another kind, with all."""
        small, foreign, seeds = self._suite.small, self._suite.foreign, self._plan.seeds
        runs = {
            "alone": [self._plan.alone(small, seed) for seed in seeds],
            "with_foreign": [self._plan.pair(small, foreign, seed) for seed in seeds],
            "with_all": [self._plan.joint(seed, small) for seed in seeds],
        }
        rows = [self._row("small_problem", small, variant, each) for variant, each in runs.items()]
        comparisons = [
            self._comparison(small, variant, runs[variant], "alone", runs["alone"])
            for variant in ("with_foreign", "with_all")
        ]
        claim = "A problem with little data gains from others, even from one of another kind."
        return {
            "name": "small_problem",
            "title": f"A small problem: {self._suite.task(small).label}",
            "paper_table": 3,
            "columns": [_STEPS, *_COLUMNS],
            "rows": rows,
            "comparisons": comparisons,
            "claim": self._claim(claim, comparisons, "Trained with others", "ways", least_better=2),
        }

    def ablation(self) -> dict[str, Any]:
        """Table 4: without experts, without attention."""
        rows, comparisons = [], []
        for name in self._suite.ablated:
            runs = {
                variant: [self._plan.ablated(name, variant, seed) for seed in self._plan.seeds] for variant in ABLATIONS
            }
            rows += [self._row("ablation", name, variant, each) for variant, each in runs.items()]
            comparisons += [
                self._comparison(name, "all_blocks", runs["all_blocks"], variant, runs[variant])
                for variant in ABLATIONS
                if variant != "all_blocks"
            ]
        claim = "Blocks made for one domain do not hurt problems of another."
        return {
            "name": "ablation",
            "title": "Without experts, without attention",
            "paper_table": 4,
            "columns": [_PARAMETERS, _STEPS, *_COLUMNS],
            "rows": rows,
            "comparisons": comparisons,
            "claim": self._claim(claim, comparisons, "With all blocks", "comparisons"),
        }

    def models(self) -> dict[str, Any]:
        """The MultiModel against Transformers, each trained jointly; not in the paper."""
        runs = {"multi_model": [self._plan.joint(seed) for seed in self._plan.seeds]}
        runs |= {
            variant: [self._plan.transformer(variant, seed) for seed in self._plan.seeds] for variant in TRANSFORMERS
        }
        rows = [
            self._row("models", name, variant, each) for name in self._suite.tasks for variant, each in runs.items()
        ]
        comparisons = [
            self._comparison(name, "multi_model", runs["multi_model"], variant, runs[variant])
            for name in self._suite.tasks
            for variant in TRANSFORMERS
        ]
        claim = "The MultiModel learns these problems together as well as a Transformer of its size."
        return {
            "name": "models",
            "title": "The MultiModel against a Transformer of equal parameters and of equal FLOPs, trained jointly",
            "paper_table": None,
            "columns": [_PARAMETERS, _STEPS, *_COLUMNS],
            "rows": rows,
            "comparisons": comparisons,
            "claim": self._claim(claim, comparisons, "The MultiModel against Transformers", "comparisons"),
        }

    def transfer(self, method: str) -> dict[str, Any]:
        """The matrix of what a target gains from each source, in nats of log-perplexity; above 0 the source helps."""
        sources = list(dict.fromkeys(s for target in self._plan.targets for s in self._plan.sources(target)))
        gains, comparisons = [], []
        for target in self._plan.targets:
            row: list[dict[str, Any] | None] = []
            for source in sources:
                if source not in self._plan.sources(target):
                    row.append(None)
                    continue
                seeds = self._plan.seeds
                if method == "pair":
                    these = [self._plan.pair(target, source, seed) for seed in seeds]
                    others = [self._plan.alone(target, seed) for seed in seeds]
                else:
                    these = [self._plan.joint(seed, target) for seed in seeds]
                    others = [self._plan.without(target, source, seed) for seed in seeds]
                with_source, without = self._scores(these, target, METRIC), self._scores(others, target, METRIC)
                values = [None if a is None or b is None else b - a for a, b in zip(with_source, without, strict=True)]
                compared = compare(_known(with_source), _known(without))
                cell = _cell(values, "nats", signed=True) or _empty_cell(values)
                row.append(cell | {"verdict": compared.verdict if compared else "", "source": source})
                described = self._described(target, f"with {self._label(source)}", "without it", compared)
                comparisons.append(described | {"variant": source, "against": ""})
            gains.append(row)
        title = {
            "pair": "What a problem gains from being trained with one other",
            "leave_one_out": "What a problem gains from each of the others in joint training",
        }
        return {
            "name": "transfer" if method == "pair" else f"transfer_{method}",
            "title": title[method],
            "method": method,
            "metric": METRIC,
            "targets": [{"name": name, "label": self._label(name)} for name in self._plan.targets],
            "sources": [{"name": name, "label": self._label(name)} for name in sources],
            "gains": gains,
            "comparisons": comparisons,
            "claim": self._claim("Other problems do not hurt.", comparisons, "With another problem", "pairs"),
        }

    def problem(self, name: str) -> dict[str, Any]:
        """Returns the description of a problem."""
        task, (key, (label, better, kind)) = self._suite.task(name), self._figures[name]
        figure = {"key": key, "label": label, "better": better, "format": kind}
        return {"label": task.label, "kind": task.kind, "steps": self._plan.steps[name], "figure": figure}

    def run(self, run: PlannedRun) -> dict[str, Any]:
        """Returns the description of a run."""
        outcome = self._outcomes.get(run.name, Outcome())
        return {
            "name": run.name,
            "folder": f"runs/{run.name}",
            "tables": self._plan.used_by[run.name],
            "problems": list(run.problems),
            "seed": run.seed,
            "hparams": run.changes,
            "transformer": run.transformer,
            "train_steps": run.train_steps,
            "steps_by_problem": run.steps,
            "status": outcome.status,
            "step": outcome.step,
            "message": outcome.message,
            "parameters": outcome.parameters,
            "seconds": round(outcome.seconds, 1),
            "scores": outcome.scores,
        }

    def notes(self, asked: Collection[str]) -> Iterator[str]:
        """Yields a sentence for each run asked for that is missing from the tables, and for each table with others."""
        for name, run in self._plan.runs.items():
            outcome = self._outcomes.get(name, Outcome())
            where = f"run {name} ({', '.join(self._plan.used_by[name])})"
            if outcome.status == FINISHED or name not in asked:
                continue
            if outcome.status == "diverged":
                yield f"{where} diverged and is left out: {outcome.message}"
            elif outcome.step:
                yield f"{where} was cut short at step {outcome.step:,} of {run.train_steps:,} and is left out"
            else:
                yield f"{where} is not trained yet"
        for table in self._plan.tables:
            runs = [run for name, run in self._plan.runs.items() if table in self._plan.used_by[name]]
            others = [run for run in runs if run.name not in asked]
            if others:
                seeds = sorted({run.seed for run in others})
                listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
                yield f"table {table}: no call has asked for {len(others)} of its {len(runs)} runs ({listed})"

    def _label(self, problem: str) -> str:
        return self._suite.task(problem).label

    def _scores(self, runs: Sequence[PlannedRun], problem: str, metric: str) -> list[float | None]:
        """Returns the scores of runs of the seeds; None of a run that did not finish."""
        scores = []
        for run in runs:
            outcome = self._outcomes.get(run.name, Outcome())
            value = outcome.scores.get(problem, {}).get(metric) if outcome.status == FINISHED else None
            scores.append(value if value is not None and math.isfinite(value) else None)
        return scores

    def _row(self, table: str, problem: str, variant: str, runs: Sequence[PlannedRun]) -> dict[str, Any]:
        """Returns a row: a problem in one variant, with a cell for each column."""
        figure, (name, _, kind) = self._figures[problem]
        paper = PAPER.get(table, {}).get((self._suite.task(problem).kind, variant), {})
        cells = []
        for column in (_STEPS, *_COLUMNS):
            key = str(column["key"])
            if key == "steps":
                cells.append(_cell([float(runs[0].steps[problem])], "integer"))
            elif key == "figure":
                cell = _cell(self._scores(runs, problem, figure), kind)
                cells.append(cell and cell | {"metric": figure, "text": f"{name} {cell['text']}"})
            else:
                cell = _cell(self._scores(runs, problem, key), str(column["format"]), paper.get(key))
                cells.append(cell)
        if table in ("ablation", "models"):
            counts = [float(self._outcomes[run.name].parameters) for run in runs if run.name in self._outcomes]
            cells.insert(0, _cell([max(counts)] if any(counts) else [None], "integer"))
        label = f"with {self._label(self._suite.foreign)}" if variant == "with_foreign" else _VARIANTS[variant]
        label = f"{self._label(problem)}, {label}"
        return {"label": label, "problem": problem, "variant": variant, "cells": cells}

    def _comparison(
        self, problem: str, variant: str, runs: Sequence[PlannedRun], against: str, others: Sequence[PlannedRun]
    ) -> dict[str, Any]:
        """Returns how one variant of a problem compares with another."""
        these, those = (_known(self._scores(each, problem, METRIC)) for each in (runs, others))
        foreign = f"with {self._label(self._suite.foreign)}"
        first, second = (foreign if name == "with_foreign" else _VARIANTS[name] for name in (variant, against))
        row = self._described(problem, first, second, compare(these, those))
        return row | {"variant": variant, "against": against}

    def _described(self, problem: str, first: str, second: str, compared: Comparison | None) -> dict[str, Any]:
        label = self._label(problem)
        row = {"problem": problem, "label": label, "variant_label": first, "against_label": second, "metric": METRIC}
        if compared is None:
            sentence = f"{label}: {first} and {second} cannot be compared, as runs are missing."
            return row | {"difference": None, "margin": None, "verdict": "missing", "sentence": sentence}
        size = f"{abs(compared.difference):.3f} nats"
        if compared.verdict == "within the spread":
            sentence = f"{label}: {first} and {second} are within the spread ({size}, margin {compared.margin:.3f})."
        elif compared.verdict == "one seed":
            side = "better" if compared.difference > 0 else "worse"
            sentence = f"{label}: {first} is {side} than {second} by {size}; no verdict with one seed."
        else:
            sentence = f"{label}: {first} is {compared.verdict} than {second} by {size} (margin {compared.margin:.3f})."
        return row | {
            "difference": compared.difference,
            "margin": compared.margin,
            "verdict": compared.verdict,
            "sentence": sentence,
        }

    def _claim(
        self, paper: str, comparisons: Sequence[dict[str, Any]], subject: str, unit: str, least_better: int = 0
    ) -> dict[str, str]:
        """Returns the paper's claim, whether it holds here, and a sentence with the numbers.

        It holds if nothing is worse by more than the margin and at least `least_better` comparisons are better. It
        fails if something is worse. Otherwise the verdict is "within the spread".
        """
        verdicts = [row["verdict"] for row in comparisons]
        better, worse, within = (verdicts.count(each) for each in ("better", "worse", "within the spread"))
        known = better + worse + within
        if not known:
            sides = [row["difference"] for row in comparisons if row["difference"] is not None]
            if not sides:
                return {"paper": paper, "verdict": "missing", "sentence": "No runs to compare yet."}
            counts = f"{sum(side > 0 for side in sides)} of {len(sides)} {unit} are better"
            sentence = f"{subject}, {counts}; no verdict with one seed."
            return {"paper": paper, "verdict": "one seed", "sentence": sentence}
        counts = f"{better} of {known} {unit} are better, {within} within the spread, {worse} worse"
        names = [f"{row['label']}, {row['variant_label']}" for row in comparisons if row["verdict"] == "worse"]
        listed = f" ({'; '.join(names)})" if names else ""
        if worse:
            verdict, end = "fails", "the claim fails here"
        elif better >= least_better:
            verdict, end = "holds", "the claim holds here"
        else:
            verdict, end = "within the spread", "these runs neither support the claim nor refute it"
        return {"paper": paper, "verdict": verdict, "sentence": f"{subject}, {counts}{listed}: {end}."}


def _main_figure(problem: str) -> tuple[str, tuple[str, str, str]]:
    """Returns the key of a problem's main figure of decoded answers, and its name, direction and format."""
    declared = get_problem(problem)
    if isinstance(getattr(declared, "targets", None), Label):
        return "accuracy", FIGURES["accuracy"]
    for metric in declared.metrics:
        key = {"tree": "accuracy_trees"}.get(metric, metric)
        return key, FIGURES.get(key, (key, "higher", "number"))
    return "accuracy", FIGURES["accuracy"]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _empty_cell(values: Sequence[float | None]) -> dict[str, Any]:
    return {"mean": None, "spread": None, "values": list(values), "paper": None, "text": "-"}


def _cell(
    values: Sequence[float | None], kind: str, paper: float | None = None, signed: bool = False
) -> dict[str, Any] | None:
    """Returns a cell of the values of all seeds; None if there is none."""
    known = _known(values)
    if not known:
        return None
    center, deviation = mean(known), spread(known)
    text = format_value(center, kind)
    if signed and center > 0:
        text = f"+{text}"
    if deviation is not None:
        text += f" ± {format_value(deviation, kind).rstrip('%')}"
    return {"mean": center, "spread": deviation, "values": list(values), "paper": paper, "text": text}
