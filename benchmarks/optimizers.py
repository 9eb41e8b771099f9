"""What an optimizer's step costs over all weights of multimodel_tiny, and what the moving average adds to training.

Optimizers: one update of every weight against Adam's. Training: a step with the moving average against one without."""

import keras
import numpy as np
import tensorflow as tf
from compare import ratio
from tracing import PROBLEMS, batch, problem

from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import train_step

KINDS = {
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.1},
    "Adafactor": {"optimizer": "adafactor"},
    "Adam with the moving average": {"average_decay": 0.999},
}


def model(**changes) -> MultiModel:
    return MultiModel(multimodel_tiny().replace(**changes), {p[0]: problem(*p) for p in PROBLEMS}, {"words": 256})


def update(**changes):
    """A call that makes one step of an optimizer."""
    variables = model().trainable_variables
    optimizer = make_optimizer(multimodel_tiny().replace(**changes), variables)
    gradients = [tf.random.stateless_normal(v.shape, [0, i], stddev=1e-3) for i, v in enumerate(variables)]
    return lambda: optimizer.apply(gradients, 1e-3)


def keras_update():
    variables = model().trainable_variables
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.98, 1e-9, global_clipnorm=1.0)
    optimizer.build(variables)
    gradients = [tf.random.stateless_normal(v.shape, [0, i], stddev=1e-3) for i, v in enumerate(variables)]
    step = tf.function(lambda *gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True)))
    return lambda: step(*gradients)


def training(**changes):
    """A call that makes one step of training."""
    net = model(**changes)
    optimizer = make_optimizer(net.hparams, net.trainable_variables)
    name, inputs, targets = PROBLEMS[0]
    drawn = batch(np.random.default_rng(0), inputs, targets)
    return lambda: train_step(net, optimizer, name, drawn, 0)


def main() -> None:
    variables = model().trainable_variables
    print(f"{sum(int(np.prod(v.shape)) for v in variables):,} weights in {len(variables)} variables")
    adam = update()
    for name, call in {
        "Keras's Adam": keras_update(),
        **{name: update(**kind) for name, kind in KINDS.items()},
    }.items():
        value, times = ratio(call, adam)
        print(f"{name}, over Adam: {value:.2f}  ({times})")
    value, times = ratio(training(average_decay=0.999), training())
    print(f"a step of training with the moving average, over one without: {value:.2f}  ({times})")


if __name__ == "__main__":
    main()
