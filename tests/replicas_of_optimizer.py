"""Two replicas against one device; a process of its own, as its devices must be there before the first operation."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.training.optimizer import make_optimizer


def steps(strategy, hparams, traced):
    """Weights and optimizer after six steps of summed gradients, the second weight in every other: a list of arrays."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        weights = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in ((3, 2), (4,), (2, 2, 3))]
        optimizer = make_optimizer(hparams, weights)

    def replica_step(gradients, rate):
        context = tf.distribute.get_replica_context()
        parts = [1.0 * g / context.num_replicas_in_sync for g in gradients if g is not None]
        summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, parts))
        return optimizer.apply([None if g is None else next(summed) for g in gradients], rate)

    def step(gradients, rate):
        return strategy.run(replica_step, args=(gradients, rate))

    call = tf.function(step, autograph=False) if traced else step
    for number in range(6):
        gradients = [tf.constant(rng.standard_normal(v.shape), tf.float32) for v in weights]
        if number % 2:
            gradients[1] = None
        call(gradients, tf.constant(0.1))
    copies = [
        [copy.numpy() for copy in strategy.experimental_local_results(v)]
        for v in (*(w.value for w in weights), *optimizer.variables)
    ]
    for first, *others in copies:
        for other in others:
            np.testing.assert_array_equal(first, other)
    with optimizer.averaged():
        assert all(np.any(w.numpy() != c[0]) for w, c in zip(weights, copies, strict=False))
    for weight, found in zip(weights, copies, strict=False):
        for copy in strategy.experimental_local_results(weight.value):
            np.testing.assert_array_equal(copy.numpy(), found[0])
    return [found[0] for found in copies]


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for optimizer, weight_decay in (("adam", 0.0), ("adamw", 0.1), ("adafactor", 0.1)):
        hparams = HParams(optimizer=optimizer, weight_decay=weight_decay, average_decay=0.9)
        one = steps(tf.distribute.get_strategy(), hparams, traced=False)
        for traced in (False, True):
            devices = tf.distribute.MirroredStrategy(
                ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
            )
            two = steps(devices, hparams, traced)
            for a, b in zip(one, two, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)


if __name__ == "__main__":
    main()
