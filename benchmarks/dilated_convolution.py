"""ConvStep's folded dilated depthwise convolution, forward and backward, over tf.nn.depthwise_conv2d with dilations.

The kernel is the ConvBlock's last one: 15 taps, dilation 8. Lengths are None in the graph, as in the model.

    python benchmarks/dilated_convolution.py [--tiny]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import for_training  # noqa: F401
import numpy as np
import tensorflow as tf
from measure import Result, main, timed, versus

from t2t_lite.layers.convolution import ConvStep, convolve_dilated

TAPS, DILATION = 15, 8


@dataclass(frozen=True)
class Sizes:
    hidden: int = 128  # D
    positions: int = 2048  # in a batch: short sentences come in larger batches
    lengths: tuple[int, ...] = (16, 64, 256)  # S
    repetitions: int = 30


TINY = Sizes(hidden=4, positions=64, lengths=(16, 64), repetitions=1)


def with_gradients(
    convolve: Callable[[tf.Tensor], tf.Tensor], kernel: tf.Variable, hidden: int
) -> Callable[..., list[tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec([None, None, 1, hidden])])
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(convolve(x) ** 2)
        return tape.gradient(loss, [x, kernel])

    return step


def rows(size: str) -> Iterator[Result]:
    sizes = Sizes() if size == "full" else TINY
    kernel = ConvStep(sizes.hidden, sizes.hidden, (TAPS, 1), dilation=DILATION).depthwise.value

    def dilated(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", dilations=[DILATION, 1])

    def folded(x: tf.Tensor) -> tf.Tensor:
        return convolve_dilated(x, tf.convert_to_tensor(kernel), DILATION, causal=False)

    folded_step = with_gradients(folded, kernel, sizes.hidden)
    dilated_step = with_gradients(dilated, kernel, sizes.hidden)
    for length in sizes.lengths:
        x = tf.random.stateless_normal([sizes.positions // length, length, 1, sizes.hidden], [1, length])
        for ours, theirs in zip(folded_step(x), dilated_step(x), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
        ours, theirs = timed(
            lambda x=x: folded_step(x), lambda x=x: dilated_step(x), repetitions=sizes.repetitions, budget=5
        )
        yield versus(
            f"dilated convolution, D={sizes.hidden}, {TAPS} taps, dilation {DILATION}, {sizes.positions} positions, "
            f"length {length}, with gradients",
            ours,
            "tf.nn.depthwise_conv2d",
            theirs,
        )


if __name__ == "__main__":
    main(rows)
