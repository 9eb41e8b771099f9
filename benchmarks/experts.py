"""MixtureOfExperts, forward and backward, over a dense two-layer ReLU network with the same number of multiplications.

The dense network is as wide as k experts together. A ratio of 1 would mean that gating, sorting, gathering and the
gradients of rarely chosen experts cost nothing.

    python benchmarks/experts.py [--tiny]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf
from compare import parse_tiny, ratio

from t2t_lite.layers.experts import MixtureOfExperts, balancing_loss


@dataclass(frozen=True)
class Sizes:
    hidden: int = 128  # D
    filters: int = 256  # F
    chosen: int = 4  # k
    positions: int = 1024  # N
    experts: tuple[int, ...] = (4, 30, 240)  # E
    repetitions: int = 30


TINY = Sizes(hidden=8, filters=8, chosen=2, positions=16, experts=(2, 5), repetitions=1)

Forward = Callable[[tf.Tensor], tf.Tensor]


def dense_network(sizes: Sizes) -> tuple[Forward, list[tf.Variable]]:
    width = sizes.chosen * sizes.filters
    expand = tf.Variable(tf.random.stateless_normal([sizes.hidden, width], [1, 0]) / sizes.hidden**0.5)
    contract = tf.Variable(tf.random.stateless_normal([width, sizes.hidden], [2, 0]) / sizes.filters**0.5)
    return lambda x: tf.matmul(tf.nn.relu(tf.matmul(x, expand)), contract), [expand, contract]


def mixture(sizes: Sizes, experts: int) -> tuple[Forward, list[tf.Variable]]:
    layer = MixtureOfExperts(sizes.hidden, sizes.filters, experts, sizes.chosen, name=f"experts{experts}")
    noise = tf.constant([1, 1], tf.int32)

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
    return lambda: step(x)


def main(arguments: list[str] | None = None) -> None:
    sizes = TINY if parse_tiny(arguments) else Sizes()
    print(
        f"time over that of a dense network of equal FLOPs; "
        f"D {sizes.hidden}, F {sizes.filters}, k {sizes.chosen}, {sizes.positions} positions"
    )
    dense = with_gradients(sizes, *dense_network(sizes))
    for experts in sizes.experts:
        value, times = ratio(with_gradients(sizes, *mixture(sizes, experts)), dense, sizes.repetitions)
        print(f"E {experts:3}: {value:.2f}  ({times})")


if __name__ == "__main__":
    main()
