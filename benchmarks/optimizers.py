"""One update of all weights of multimodel_tiny by each optimizer over one by Adam, and training with a moving average.

python benchmarks/optimizers.py [--tiny]
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from compare import model_hparams, parse_tiny, ratio
from tracing import PROBLEMS, joint_model, random_batch

from t2t_lite.hparams import HParams
from t2t_lite.training.devices import Devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

CHANGES = {
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.1},
    "Adafactor": {"optimizer": "adafactor"},
    "Adam with the moving average": {"average_decay": 0.999},
}


def random_gradients(variables: list[keras.Variable]) -> list[tf.Tensor]:
    return [tf.random.stateless_normal(v.shape, [0, i], stddev=1e-3) for i, v in enumerate(variables)]


def update(hparams: HParams) -> Callable[[], object]:
    """A call that updates all weights once."""
    variables = joint_model(hparams).trainable_variables
    optimizer = make_optimizer(hparams, variables)
    gradients = random_gradients(variables)
    return lambda: optimizer.apply(gradients, 1e-3)


def keras_update(hparams: HParams) -> Callable[[], object]:
    """The same by Keras's Adam."""
    variables = joint_model(hparams).trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.98, 1e-9, global_clipnorm=1.0)
    optimizer.build(variables)
    gradients = random_gradients(variables)
    step = tf.function(lambda *gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True)))
    return lambda: step(*gradients)


def training(hparams: HParams) -> Callable[[], object]:
    """A call that makes one training step."""
    model = joint_model(hparams)
    train_step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    name, inputs, targets = PROBLEMS[0]
    batch = random_batch(np.random.default_rng(0), inputs, targets)
    return lambda: train_step(name, batch, 0)


def main(arguments: list[str] | None = None) -> None:
    tiny = parse_tiny(arguments)
    hparams, repetitions = model_hparams(tiny), 1 if tiny else 30
    variables = joint_model(hparams).trainable_variables
    print(f"{sum(int(np.prod(v.shape)) for v in variables):,} weights in {len(variables)} variables")
    adam = update(hparams)
    calls = {"Keras's Adam": keras_update(hparams)}
    calls |= {name: update(hparams.replace(**changes)) for name, changes in CHANGES.items()}
    for name, call in calls.items():
        value, times = ratio(call, adam, repetitions)
        print(f"{name}, over Adam: {value:.2f}  ({times})")
    averaging = training(hparams.replace(average_decay=0.999))
    value, times = ratio(averaging, training(hparams), repetitions)
    print(f"a training step with the moving average, over one without: {value:.2f}  ({times})")


if __name__ == "__main__":
    main()
