"""What one more problem costs a joint model: its first training step over that of the first, which builds the body."""

import statistics

import numpy as np
import tensorflow as tf
from compare import seconds

from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Image, Label, Problem, Text
from t2t_lite.problems.features import Feature
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

EXAMPLES, SOURCE, TARGET = 8, 20, 20  # B, S, T
MODELS = 3  # models built, as a trace happens once in each

TEXT, PICTURE = Text("words", 256), Image(32, 32)
PROBLEMS: list[tuple[str, Feature, Feature]] = [
    ("to_english", TEXT, TEXT),
    ("to_german", TEXT, TEXT),
    ("to_tree", TEXT, TEXT),
    ("caption", PICTURE, TEXT),
    ("shapes", PICTURE, Label(("circle", "square", "star"))),
]


def problem(name: str, inputs: Feature, targets: Feature) -> Problem:
    made = Problem(name)
    made.inputs, made.targets, made.command = inputs, targets, name
    return made


def batch(rng: np.random.Generator, inputs: Feature, targets: Feature) -> dict[str, tf.Tensor]:
    drawn = rng.integers(2, 256, (EXAMPLES, SOURCE)) if inputs is TEXT else rng.random((EXAMPLES, 32, 32, 3))
    answers = rng.integers(2, 256, (EXAMPLES, TARGET)) if targets is TEXT else rng.integers(0, 3, EXAMPLES)
    kind = tf.int32 if inputs is TEXT else tf.float32
    return {"inputs": tf.constant(drawn, kind), "targets": tf.constant(answers, tf.int32)}


def first_steps() -> list[float]:
    """The seconds of each problem's first step with a new model."""
    rng = np.random.default_rng(0)
    model = MultiModel(multimodel_tiny(), {p[0]: problem(*p) for p in PROBLEMS}, {"words": 256})
    train_step = TrainStep(Devices(), [(model, make_optimizer(model.hparams, model.trainable_variables))])
    batches = {name: batch(rng, inputs, targets) for name, inputs, targets in PROBLEMS}
    return [seconds(lambda n=n: train_step(n, batches[n], 0)) for n in batches]


def main() -> None:
    runs = [first_steps() for _ in range(MODELS)]
    medians = [statistics.median(times) for times in zip(*runs, strict=True)]
    print(f"first step of {PROBLEMS[0][0]}: {medians[0]:.1f} s")
    for (name, _, _), median in zip(PROBLEMS[1:], medians[1:], strict=True):
        print(f"first step of {name}, over that: {median / medians[0]:.2f}  ({median:.2f} s)")


if __name__ == "__main__":
    main()
