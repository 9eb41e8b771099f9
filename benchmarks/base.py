"""The paper's own sizes on its eight corpora: counted FLOPs and memory of a step, and measured steps on this machine.

Takes the corpora's declarations and made-up batches in their shapes, so that no data are needed. For multimodel_base
(240 experts, all corpora) and multimodel_single (60 experts): the step's FLOPs for the longest batch and the estimate
of its peak memory, as `--dry_run` prints them, and GPUs that hold the set. Then steps of every problem, with few
experts and small batches: seconds, GFLOP/s, and the time over that of one large product of equal FLOPs.

    python benchmarks/base.py [--count] [--tiny]
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
from compare import add_tiny, model_hparams, seconds

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_base, multimodel_single
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.monitoring.training_display import format_table
from t2t_lite.problems import Label, Problem
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import describe_memory, fitting_changes, memory_estimates, step_flops
from t2t_lite.training.memory_estimate import BatchShape, shapes
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.shapes_only import shapes_only
from t2t_lite.training.step import TrainStep

VOCAB_SIZE = 8192


@dataclass(frozen=True)
class Sizes:
    num_experts: int = 8  # of the measured steps
    batch_tokens: int = 512
    product: int = 2048  # rows and columns of the product that measures the machine's speed


TINY = Sizes(num_experts=2, batch_tokens=16, product=64)


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


def vocabularies(problems: Mapping[str, Problem]) -> dict[str, int]:
    features = [feature for problem in problems.values() for feature in (problem.inputs, problem.targets)]
    return {feature.vocab: VOCAB_SIZE for feature in features if hasattr(feature, "vocab")}


def count(label: str, hparams: HParams, problems: Mapping[str, Problem]) -> None:
    """Prints FLOPs and memory; allocates no weights."""
    with shapes_only():
        model = MultiModel(hparams, problems, vocabularies(problems))
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


def random_batch(problem: Problem, shape: BatchShape) -> dict[str, tf.Tensor]:
    rng, batch = np.random.default_rng(0), blank_batch(problem, shape.examples, shape.boundary)
    for key in ("inputs", "targets"):
        if batch[key].dtype == tf.uint8:
            batch[key] = tf.constant(rng.integers(0, 256, batch[key].shape, np.uint8))
        elif batch[key].dtype.is_floating:
            batch[key] = tf.constant(rng.random(batch[key].shape, np.float32))
        elif batch[key].shape.rank == 2:
            batch[key] = tf.constant(rng.integers(2, VOCAB_SIZE, batch[key].shape), tf.int32)
    return batch


def machine_speed(size: int) -> float:
    """FLOPs a second of a large float32 product."""
    x, product = tf.ones([size, size]), tf.function(tf.matmul)
    return 2 * size**3 / min(seconds(lambda: product(x, x)) for _ in range(4))


def measure(hparams: HParams, problems: Mapping[str, Problem], speed: float) -> None:
    """Prints the second step's time of each problem; the first one traces graphs."""
    print(f"\nmeasured with {hparams.num_experts} experts, batch_tokens={hparams.batch_tokens}")
    print(f"a product reaches {speed / 1e9:,.0f} GFLOP/s")
    model = MultiModel(hparams, problems, vocabularies(problems))
    step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    for name, problem in problems.items():
        shape = shapes(problem, hparams)[0]
        batch, flops = random_batch(problem, shape), step_flops(model, name, shape)
        step(name, batch, 0)
        taken = seconds(lambda n=name, b=batch: step(n, b, 1))
        print(
            f"{name:26} {shape.examples:3} x {shape.boundary:3}: {taken:6.2f} s, {flops / taken / 1e9:7,.1f} GFLOP/s, "
            f"over the product's time: {taken * speed / flops:.2f}"
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add_tiny(parser)
    parser.add_argument("--count", action="store_true", help="only count, measure nothing")
    flags = parser.parse_args(arguments)
    sizes, problems = (TINY if flags.tiny else Sizes()), eight_problems()
    for label, hparams in (("multimodel_base", multimodel_base()), ("multimodel_single", multimodel_single())):
        count(label, hparams, problems)
    if not flags.count:
        network = model_hparams(True) if flags.tiny else multimodel_base()
        network = network.replace(num_experts=sizes.num_experts, batch_tokens=sizes.batch_tokens)
        if flags.tiny:
            network = network.replace(batch_max_examples=1, audio_blocks=1, audio_width=2, audio_mels=8)
        measure(network, problems, machine_speed(sizes.product))


if __name__ == "__main__":
    main()
