"""A layer of experts, forward and backward, over a dense two-layer ReLU network of as many multiplications.

The dense network is as wide as k experts together. Each expert's weights must be read and its gradients written, which
takes longer than the arithmetic if there are many: the reference is then the time to move them at the speed
of a copy.

    python benchmarks/experts.py [--tiny]
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import for_training  # noqa: F401
import numpy as np
import tensorflow as tf
from measure import Result, Timing, main, timed, versus

from t2t_lite.layers.experts import MixtureOfExperts, balancing_loss


@dataclass(frozen=True)
class Sizes:
    hidden: int = 512  # D
    filters: int = 2048  # F
    chosen: int = 4  # k
    positions: int = 2048  # N
    targets: tuple[tuple[int, float], ...] = ((30, 1.1), (60, 1.2), (240, 1.3))  # E and the ratio to reach
    copied: int = 2**27  # numbers
    repetitions: int = 6


TINY = Sizes(hidden=8, filters=8, chosen=2, positions=16, targets=((2, 1.1), (5, 1.3)), copied=2**10, repetitions=1)

Forward = Callable[[tf.Tensor], tf.Tensor]


def dense_network(sizes: Sizes) -> tuple[Forward, list[tf.Variable]]:
    width = sizes.chosen * sizes.filters
    expand = tf.Variable(tf.random.stateless_normal([sizes.hidden, width], [1, 0]) / sizes.hidden**0.5)
    contract = tf.Variable(tf.random.stateless_normal([width, sizes.hidden], [2, 0]) / sizes.filters**0.5)
    return lambda x: tf.matmul(tf.nn.relu(tf.matmul(x, expand)), contract), [expand, contract]


def mixture(sizes: Sizes, experts: int, *, spread: bool = True) -> tuple[Forward, list[tf.Variable]]:
    """The experts layer; spread=False: all positions choose the same experts."""
    layer = MixtureOfExperts(sizes.hidden, sizes.filters, experts, sizes.chosen, name=f"experts{experts}_{spread}")
    noise = tf.constant([1, 1], tf.int32)
    if not spread:
        gate = np.zeros(layer.gate.shape, np.float32)
        gate[0, : sizes.chosen] = 100.0  # the first number of each position is positive
        layer.gate.assign(gate)

    def forward(x: tf.Tensor) -> tf.Tensor:
        y, sums = layer(x[None], noise=noise)
        return y[0] + 0.01 * balancing_loss(sums)

    return forward, [v.value for v in layer.trainable_variables]


def with_gradients(sizes: Sizes, forward: Forward, weights: Sequence[tf.Variable]) -> Callable[[], object]:
    @tf.function
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(forward(x) ** 2)
        return tape.gradient(loss, [x, *weights])

    x = tf.random.stateless_normal([sizes.positions, sizes.hidden], [3, 0])
    x = tf.concat([tf.ones([sizes.positions, 1]), x[:, 1:]], axis=1)
    return lambda: step(x)


def copy_speed(sizes: Sizes) -> float:
    """Bytes a second that are read and written by adding 1 to a large tensor."""
    x, add = tf.ones([sizes.copied]), tf.function(lambda x: x + 1.0)
    return 2 * 4 * sizes.copied / timed(lambda: add(x), repetitions=min(sizes.repetitions, 5))[0].best


def bytes_moved(sizes: Sizes, experts: int) -> int:
    """Bytes that a step moves at least: both passes read all weights, the backward pass writes as many gradients."""
    return 3 * experts * 2 * sizes.hidden * sizes.filters * 4


def rows(size: str) -> Iterator[Result]:
    sizes = Sizes() if size == "full" else TINY
    about = f"D={sizes.hidden}, F={sizes.filters}, k={sizes.chosen}, {sizes.positions} positions"
    dense, bandwidth = with_gradients(sizes, *dense_network(sizes)), copy_speed(sizes)
    cases = [(experts, True, target) for experts, target in sizes.targets]
    cases.insert(1, (sizes.targets[0][0], False, None))
    for experts, spread, target in cases:
        layer = with_gradients(sizes, *mixture(sizes, experts, spread=spread))
        timing, arithmetic = timed(layer, dense, repetitions=sizes.repetitions, budget=6)
        moving = Timing(bytes_moved(sizes, experts) / bandwidth, None)
        reference, name = arithmetic, "dense network of equal FLOPs"
        if spread and moving.best > arithmetic.best:
            reference, name = moving, f"moving weights and gradients at {bandwidth / 1e9:.0f} GB/s"
        where = "" if spread else ", all positions at the same experts"
        yield versus(f"layer of E={experts} experts, {about}, with gradients{where}", timing, name, reference, target)


if __name__ == "__main__":
    main(rows)
