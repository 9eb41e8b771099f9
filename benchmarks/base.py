"""The paper's own sizes on its eight corpora: counted FLOPs and memory of a step, and measured steps on this machine.

Takes the corpora's declarations and made-up batches in their shapes, so that no data are needed. For multimodel_base
(240 experts, all corpora) and multimodel_single (60 experts): the step's FLOPs for the longest batch and the estimate
of its peak memory, as `--dry_run` prints them, and GPUs that hold the set. Then steps of every problem, with few
experts and small batches, as a fraction of the machine's matrix speed. `make bench` leaves it out: it takes long.

    python benchmarks/base.py [--count] [--tiny]
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import for_training  # noqa: F401
from measure import Result, Row, add_flags, matrix_speed, readable, report, timed
from networks import make_train_step, random_batch, small_hparams, vocab_sizes

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_base, multimodel_single
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.monitoring.training_display import format_table
from t2t_lite.problems import Label, Problem
from t2t_lite.training.dry_run import describe_memory, fitting_changes, memory_estimates, step_flops
from t2t_lite.training.memory_estimate import shapes
from t2t_lite.training.shapes_only import shapes_only

VOCAB_SIZE = 8192


@dataclass(frozen=True)
class Sizes:
    num_experts: int = 8  # of the measured steps
    batch_tokens: int = 512


TINY = Sizes(num_experts=2, batch_tokens=16)


def eight_problems() -> dict[str, Problem]:
    """The problems of multimodel_eight; ImageNet's classes, which tfds knows, are made up."""
    problems = {name: registry.problems.get(name)(name) for name in registry.mixtures.get("multimodel_eight").rates}
    for problem in problems.values():
        if isinstance(problem.targets, Label) and not problem.targets.classes:
            problem.targets = Label(tuple(map(str, range(1000))))
    return problems


def without_data(problems: Mapping[str, Problem], hparams: HParams) -> dict[str, Any]:
    """Stand-ins for datasets that have examples of every length."""
    datasets = {}
    for name, problem in problems.items():
        boundaries = lengths.bucket_boundaries(problem.inputs, problem.targets, hparams.fine_buckets)
        split = SimpleNamespace(positions=dict.fromkeys(boundaries, 10**6))
        datasets[name] = SimpleNamespace(problem=problem, split=lambda _, split=split: split)
    return datasets


def count(label: str, hparams: HParams, problems: Mapping[str, Problem]) -> None:
    """Prints FLOPs and memory; allocates no weights."""
    with shapes_only():
        model = MultiModel(hparams, problems, vocab_sizes(problems.values(), VOCAB_SIZE))
    print(f"\n{label}: FLOPs of a step with the longest batch")
    lines = [["problem", "batch", "longest", "GFLOP"]]
    for name, problem in problems.items():
        shape = shapes(problem, hparams)[-1]
        flops = step_flops(model, name, shape)
        lines.append([name, str(shape.examples), str(shape.boundary), f"{flops / 1e9:,.0f}"])
    print(format_table(lines))
    datasets = without_data(problems, hparams)
    print(f"{label}: peak memory")
    print(describe_memory(memory_estimates(model, hparams, datasets)))
    print("\n".join(fitting_changes(model, hparams, datasets)))


def rows(size: str) -> Iterator[Result]:
    """Steps of every problem, with few experts and small batches."""
    sizes, problems = (Sizes() if size == "full" else TINY), eight_problems()
    hparams = multimodel_base() if size == "full" else small_hparams(size)
    hparams = hparams.replace(num_experts=sizes.num_experts, batch_tokens=sizes.batch_tokens)
    model = MultiModel(hparams, problems, vocab_sizes(problems.values(), VOCAB_SIZE))
    step = make_train_step(model)
    for name, problem in problems.items():
        shape = shapes(problem, hparams)[0]
        batch, flops = random_batch(problem, shape, VOCAB_SIZE), step_flops(model, name, shape)
        timing = timed(lambda n=name, b=batch: step(n, b, 1), repetitions=1 if size == "tiny" else 3)[0]
        yield Row(
            f"training step of {name}, {hparams.num_experts} experts, {shape.examples} x {shape.boundary}",
            *readable(timing.best),
            f"float32 matrix speed: {matrix_speed(size) / 1e9:,.0f} GFLOP/s",
            flops / timing.best / matrix_speed(size),
            timing.spread,
            more_is_better=True,
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parser.add_argument("--count", action="store_true", help="only count, measure nothing")
    flags = parser.parse_args(arguments)
    problems = eight_problems()
    for label, hparams in (("multimodel_base", multimodel_base()), ("multimodel_single", multimodel_single())):
        count(label, hparams, problems)
    if not flags.count:
        print()
        report(rows("tiny" if flags.tiny else "full"), flags.json)


if __name__ == "__main__":
    main()
