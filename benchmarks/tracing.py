"""The first training step of each further problem of a joint model, over the first step of the first problem.

The first problem's step traces the body; a further problem should trace only its own modality nets.

    python benchmarks/tracing.py [--tiny]
"""

import statistics

import numpy as np
import tensorflow as tf
from compare import model_hparams, parse_tiny, seconds

from t2t_lite.hparams import HParams
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Image, Label, Problem, Text
from t2t_lite.problems.features import Feature
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

EXAMPLES, SOURCE, TARGET = 8, 20, 20  # B, S, T
MODELS = 3  # models built: each is traced only once

TEXT, IMAGE = Text("words", 256), Image(32, 32)
PROBLEMS: list[tuple[str, Feature, Feature]] = [
    ("to_english", TEXT, TEXT),
    ("to_german", TEXT, TEXT),
    ("to_tree", TEXT, TEXT),
    ("caption", IMAGE, TEXT),
    ("shapes", IMAGE, Label(("circle", "square", "star"))),
]


def joint_model(hparams: HParams) -> MultiModel:
    """A model of all PROBLEMS."""
    return MultiModel(hparams, {p[0]: _problem(*p) for p in PROBLEMS}, {"words": 256})


def _problem(name: str, inputs: Feature, targets: Feature) -> Problem:
    problem = Problem(name)
    problem.inputs, problem.targets, problem.command = inputs, targets, name
    return problem


def random_batch(rng: np.random.Generator, inputs: Feature, targets: Feature) -> dict[str, tf.Tensor]:
    x = rng.integers(2, 256, (EXAMPLES, SOURCE)) if inputs is TEXT else rng.random((EXAMPLES, 32, 32, 3))
    y = rng.integers(2, 256, (EXAMPLES, TARGET)) if targets is TEXT else rng.integers(0, 3, EXAMPLES)
    dtype = tf.int32 if inputs is TEXT else tf.float32
    return {"inputs": tf.constant(x, dtype), "targets": tf.constant(y, tf.int32)}


def first_steps(hparams: HParams) -> list[float]:
    """Seconds of each problem's first step with a new model."""
    rng = np.random.default_rng(0)
    model = joint_model(hparams)
    train_step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    batches = {name: random_batch(rng, inputs, targets) for name, inputs, targets in PROBLEMS}
    return [seconds(lambda n=name: train_step(n, batches[n], 0)) for name in batches]


def main(arguments: list[str] | None = None) -> None:
    tiny = parse_tiny(arguments)
    runs = [first_steps(model_hparams(tiny)) for _ in range(1 if tiny else MODELS)]
    medians = [statistics.median(times) for times in zip(*runs, strict=True)]
    print(f"first step of {PROBLEMS[0][0]}: {medians[0]:.1f} s")
    for (name, _, _), median in zip(PROBLEMS[1:], medians[1:], strict=True):
        print(f"first step of {name}, over that: {median / medians[0]:.2f}  ({median:.2f} s)")


if __name__ == "__main__":
    main()
