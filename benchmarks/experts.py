"""MixtureOfExperts, forward and backward, against a dense ReLU net of two layers that multiplies as much.

The dense net's hidden width is k experts' together. A ratio of 1 would mean that gating, sorting, gathering and the
gradients of experts that saw little are free."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from compare import ratio

from t2t_lite.layers.experts import MixtureOfExperts

HIDDEN, FILTER, CHOSEN = 128, 256, 4  # D, F, k
POSITIONS = 1024  # N
EXPERTS = (4, 30, 240)  # E

Forward = Callable[[tf.Tensor], tf.Tensor]


def dense_net() -> tuple[Forward, list[tf.Variable]]:
    expand = tf.Variable(tf.random.stateless_normal([HIDDEN, CHOSEN * FILTER], [1, 0]) / HIDDEN**0.5)
    contract = tf.Variable(tf.random.stateless_normal([CHOSEN * FILTER, HIDDEN], [2, 0]) / FILTER**0.5)
    return lambda x: tf.matmul(tf.nn.relu(tf.matmul(x, expand)), contract), [expand, contract]


def mixture(experts: int) -> tuple[Forward, list[tf.Variable]]:
    layer = MixtureOfExperts(HIDDEN, FILTER, experts, CHOSEN, name=f"experts{experts}")
    noise = tf.constant([1, 1], tf.int32)

    def forward(x: tf.Tensor) -> tf.Tensor:
        y, balance = layer(x[None], noise=noise)
        return y[0] + 0.01 * balance

    return forward, [v.value for v in layer.trainable_variables]


def with_gradients(forward: Forward, weights: Sequence[tf.Variable]) -> Callable[[], object]:
    @tf.function
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(forward(x) ** 2)
        return tape.gradient(loss, [x, *weights])

    x = tf.random.stateless_normal([POSITIONS, HIDDEN], [3, 0])
    return lambda: step(x)


def main() -> None:
    print(f"time over that of a dense net of equal FLOPs; D {HIDDEN}, F {FILTER}, k {CHOSEN}, {POSITIONS} positions")
    dense = with_gradients(*dense_net())
    for experts in EXPERTS:
        value, times = ratio(with_gradients(*mixture(experts)), dense)
        print(f"E {experts:3}: {value:.2f}  ({times})")


if __name__ == "__main__":
    main()
