"""Plans the runs of a suite: which problems, how many steps of each, which seed; runs that are equal are shared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2t_lite.errors import FlagError, did_you_mean
from t2t_lite.experiments.suite import TABLES, Suite, divide_steps

METHODS = ("pair", "leave_one_out")
ABLATIONS: dict[str, dict[str, Any]] = {
    "all_blocks": {},
    "no_experts": {"use_experts": False},
    "no_attention": {"use_attention": False},
}
# {variant of the joint run: the function of hparams/transformers.py that makes its hparams from the MultiModel's}
TRANSFORMERS = {"transformer_parameters": "equal_parameters", "transformer_flops": "equal_flops"}
MULTI_MODEL = "multi_model"
OF_MULTI_MODEL = ("ablation", "models")  # tables that are only of that model
_ABLATION_PART = 3  # an ablation trains train_steps / 3
_RUN_SECONDS, _TRAINED_SECONDS, _SCORED_SECONDS = 18.0, 5.0, 9.0  # of a run, and for each problem, beside its steps


@dataclass(frozen=True)
class PlannedRun:
    """One run: a folder E/runs/NAME."""

    name: str
    steps: dict[str, int]  # {problem: its steps}
    seed: int
    changes: dict[str, Any] = field(default_factory=dict)  # hparams that this run changes
    transformer: str = ""  # a variant of TRANSFORMERS instead of the suite's model

    @property
    def train_steps(self) -> int:
        """The steps of all its problems."""
        return sum(self.steps.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """Its problems."""
        return tuple(self.steps)

    def hparams(self) -> dict[str, Any]:
        """Returns the hparams that it changes, its seed and its rates, which give each problem exactly its steps."""
        rates = exact_rates(self.steps, self.seed)
        text = ",".join(f"{name}:{rate!r}" for name, rate in rates.items())
        return {**self.changes, "seed": self.seed, "mixture_rates": text if len(rates) > 1 else ""}


class Plan:
    """The runs of a suite, in the order in which they are trained: all of the first seed first.

    Args:
      suite: the suite.
      train_steps: the steps of the joint run.
      seeds: the seeds.
      tables: the tables to make.
      targets: the problems that table transfer is about.
      methods: "pair": a target trained with one other problem; "leave_one_out": the joint run without one.

    Attributes:
      runs: {name: run}.
      used_by: {name of a run: tables that it is in}.
      scored: {name of a run: problems whose scores the tables need}.

    Raises:
      UserError: train_steps are too few, or a target is not in the suite.
    """

    def __init__(
        self,
        suite: Suite,
        train_steps: int,
        seeds: Sequence[int],
        tables: Sequence[str] = TABLES,
        targets: Sequence[str] = (),
        methods: Sequence[str] = METHODS[:1],
    ):
        self.suite, self.train_steps, self.seeds, self.tables = suite, train_steps, tuple(seeds), tuple(tables)
        self.steps = divide_steps(suite, train_steps)
        self.targets = tuple(targets) or (suite.small,)
        for name in self.targets:
            if name not in self.steps:
                raise FlagError(f"--transfer_targets: '{name}' is not in the suite{did_you_mean(name, self.steps)}")
        self.methods = tuple(methods)
        self.ablation_steps = max(1, train_steps // _ABLATION_PART)
        self.runs: dict[str, PlannedRun] = {}
        self.used_by: dict[str, list[str]] = {}
        self.scored: dict[str, list[str]] = {}
        for seed in self.seeds:
            for table in TABLES:
                if table in self.tables:
                    for run, problems in self._runs_of(table, seed):
                        self.runs[run.name] = run
                        for kept, new in ((self.used_by, (table,)), (self.scored, problems)):
                            names = kept.setdefault(run.name, [])
                            names += [name for name in new if name not in names]

    @property
    def request(self) -> dict[str, Any]:
        """What was asked for, as results.json keeps it."""
        return {
            "seeds": list(self.seeds),
            "tables": list(self.tables),
            "transfer_targets": list(self.targets),
            "transfer_methods": list(self.methods),
        }

    def joint(self, seed: int, problem: str = "") -> PlannedRun:
        """Returns the run of all problems together; with the small problem in the place of the task it replaces."""
        names = self.suite.with_all(problem or next(iter(self.suite.tasks)))
        stem = "joint" if names == tuple(self.suite.tasks) else f"joint_with-{problem}"
        return self._run(stem, {name: self.steps[name] for name in names}, seed)

    def alone(self, problem: str, seed: int) -> PlannedRun:
        """Returns the run of one problem, with as many steps as it has in the joint run."""
        if (problem,) == tuple(self.suite.tasks):
            return self.joint(seed)
        return self._run(f"alone-{problem}", {problem: self.steps[problem]}, seed)

    def pair(self, one: str, other: str, seed: int) -> PlannedRun:
        """Returns the run of two problems, each with as many steps as in the joint run."""
        names = [name for name in self.suite.problems if name in (one, other)]
        if names == list(self.suite.tasks):
            return self.joint(seed)
        return self._run(f"pair-{'-'.join(names)}", {name: self.steps[name] for name in names}, seed)

    def without(self, target: str, source: str, seed: int) -> PlannedRun:
        """Returns the joint run of a target without another problem."""
        names = [name for name in self.suite.with_all(target) if name != source]
        of_small = "" if target in self.suite.tasks else f"-with-{target}"
        return self._run(f"without-{source}{of_small}", {name: self.steps[name] for name in names}, seed)

    def ablated(self, problem: str, variant: str, seed: int) -> PlannedRun:
        """Returns the run of one problem with a variant of ABLATIONS."""
        if self.ablation_steps == self.steps[problem] and not ABLATIONS[variant]:
            return self.alone(problem, seed)
        stem = f"ablation-{problem}-{variant}"
        return self._run(stem, {problem: self.ablation_steps}, seed, ABLATIONS[variant])

    def transformer(self, variant: str, seed: int) -> PlannedRun:
        """Returns the joint run with a variant of TRANSFORMERS."""
        steps = {name: self.steps[name] for name in self.suite.tasks}
        return PlannedRun(f"{variant}-seed{seed}", steps, seed, transformer=variant)

    def sources(self, target: str) -> tuple[str, ...]:
        """Returns the problems from which a target may gain."""
        return tuple(name for name in self.suite.with_all(target) if name != target)

    def estimate(self, run: PlannedRun) -> float:
        """Returns the seconds of a run of multimodel_tiny on two idle cores, scoring included."""
        steps = sum(count * self.suite.task(name).seconds for name, count in run.steps.items())
        scored = len(self.scored.get(run.name, run.steps))
        return steps + _RUN_SECONDS + _TRAINED_SECONDS * len(run.steps) + _SCORED_SECONDS * scored

    def _runs_of(self, table: str, seed: int) -> Iterator[tuple[PlannedRun, Sequence[str]]]:
        """Yields the runs of a table, each with the problems to score."""
        suite, small = self.suite, [self.suite.small]
        if table == "joint_vs_alone":
            yield self.joint(seed), list(suite.tasks)
            yield from ((self.alone(name, seed), [name]) for name in suite.tasks)
        elif table == "small_problem":
            yield self.alone(suite.small, seed), small
            yield self.pair(suite.small, suite.foreign, seed), small
            yield self.joint(seed, suite.small), small
        elif table == "ablation":
            yield from ((self.ablated(name, kind, seed), [name]) for name in suite.ablated for kind in ABLATIONS)
        elif table == "models":
            yield self.joint(seed), list(suite.tasks)
            yield from ((self.transformer(variant, seed), list(suite.tasks)) for variant in TRANSFORMERS)
        else:
            for target in self.targets:
                if "pair" in self.methods:
                    yield self.alone(target, seed), [target]
                    yield from ((self.pair(target, source, seed), [target]) for source in self.sources(target))
                if "leave_one_out" in self.methods:
                    yield self.joint(seed, target), [target]
                    yield from ((self.without(target, source, seed), [target]) for source in self.sources(target))

    def _run(
        self, stem: str, steps: Mapping[str, int], seed: int, changes: Mapping[str, Any] | None = None
    ) -> PlannedRun:
        return PlannedRun(f"{stem}-seed{seed}", dict(steps), seed, dict(changes or {}))


def exact_rates(steps: Mapping[str, int], seed: int) -> dict[str, float]:
    """Returns rates with which the sampler of a run gives each problem exactly its steps.

    The sampler draws a uniform number for each step from (seed, step) and looks up whose interval it is in. The bounds
    of the intervals are laid between these numbers as sorted, so that each interval holds as many as it should. The
    rates differ from steps / total by about 1 / sqrt(total).
    """
    total = sum(steps.values())
    drawn = np.sort([np.random.default_rng([seed, step]).random() for step in range(total)])
    ends = np.cumsum(list(steps.values()))[:-1]
    bounds = [0.0, *((drawn[end - 1] + drawn[end]) / 2 for end in ends), 1.0]
    return {name: float(high - low) for name, low, high in zip(steps, bounds, bounds[1:], strict=False)}
