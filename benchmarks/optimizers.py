"""One update of all weights of multimodel_tiny by each optimizer over one by Adam, and training with a moving average.

python benchmarks/optimizers.py [--tiny]
"""

from collections.abc import Callable, Iterator, Sequence

import for_training  # noqa: F401
import keras
import numpy as np
import tensorflow as tf
from measure import Result, main, timed, versus
from networks import five_model, five_problems, make_train_step, random_batch, small_hparams

from t2t_lite.hparams import HParams
from t2t_lite.training.memory_estimate import BatchShape
from t2t_lite.training.optimizer import make_optimizer

CHANGES = {
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.1},
    "Adafactor": {"optimizer": "adafactor"},
    "Adam with the moving average": {"average_decay": 0.999},
}
SHAPE = BatchShape(8, 20)


def rows(size: str) -> Iterator[Result]:
    hparams, repetitions = small_hparams(size), 1 if size == "tiny" else 30
    model = five_model(hparams)
    variables = model.trainable_variables if size == "full" else model.trainable_variables[:10]
    gradients = [tf.random.stateless_normal(v.shape, [0, i], stddev=1e-3) for i, v in enumerate(variables)]
    count = sum(int(np.prod(v.shape)) for v in variables)
    adam = update(hparams, variables, gradients)
    calls = {"Keras's Adam": keras_update(variables, gradients)}
    calls |= {name: update(hparams.replace(**changes), variables, gradients) for name, changes in CHANGES.items()}
    for name, call in calls.items():
        measured, reference = timed(call, adam, repetitions=repetitions, budget=3)
        yield versus(f"update of {count / 1e6:.1f} M weights by {name}", measured, "the same by Adam", reference)

    batch = random_batch(five_problems()["to_english"], SHAPE, 256)
    steps = [make_train_step(model, hparams.replace(average_decay=decay)) for decay in (0.999, 0.0)]
    averaging, plain = timed(
        *(lambda s=step: s("to_english", batch, 0) for step in steps), repetitions=repetitions, budget=5
    )
    label = f"training step, multimodel_tiny, {SHAPE.examples} x {SHAPE.boundary} positions, with the moving average"
    yield versus(label, averaging, "without it", plain)


def update(
    hparams: HParams, variables: Sequence[keras.Variable], gradients: Sequence[tf.Tensor]
) -> Callable[[], object]:
    """A call that updates all weights once."""
    optimizer = make_optimizer(hparams, variables)
    return lambda: optimizer.apply(gradients, 1e-3)


def keras_update(variables: Sequence[keras.Variable], gradients: Sequence[tf.Tensor]) -> Callable[[], object]:
    """The same by Keras's Adam."""
    optimizer = keras.optimizers.Adam(1e-3, 0.9, 0.98, 1e-9, global_clipnorm=1.0)
    optimizer.build(variables)
    step = tf.function(lambda *gradients: optimizer.apply_gradients(zip(gradients, variables, strict=True)))
    return lambda: step(*gradients)


if __name__ == "__main__":
    main(rows)
