"""ConvStep's folded dilated depthwise convolution, forward and backward, against tf.nn.depthwise_conv2d's dilations.

The kernel is the ConvBlock's last: 15 taps, 8 apart. Lengths are left open, as they are in the model."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from compare import ratio

from t2t_lite.layers.convolution import ConvStep

HIDDEN, TAPS, DILATION = 128, 15, 8  # D
POSITIONS = 2048  # in a batch: short sentences come in larger batches
LENGTHS = (16, 64, 256)  # S


def with_gradients(convolve: Callable[[tf.Tensor], tf.Tensor], kernel: tf.Variable) -> Callable[..., list[tf.Tensor]]:
    @tf.function(input_signature=[tf.TensorSpec([None, None, 1, HIDDEN])])
    def step(x: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(convolve(x) ** 2)
        return tape.gradient(loss, [x, kernel])

    return step


def main() -> None:
    layer = ConvStep(HIDDEN, HIDDEN, (TAPS, 1), dilation=DILATION)
    kernel = layer.depthwise.value

    def dilated(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME", dilations=[DILATION, 1])

    folded_step, dilated_step = with_gradients(layer._convolve, kernel), with_gradients(dilated, kernel)
    print(f"time over that of tf.nn.depthwise_conv2d; D {HIDDEN}, {TAPS} taps {DILATION} apart, {POSITIONS} positions")
    for length in LENGTHS:
        x = tf.random.stateless_normal([POSITIONS // length, length, 1, HIDDEN], [1, length])
        for ours, theirs in zip(folded_step(x), dilated_step(x), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
        value, times = ratio(lambda x=x: folded_step(x), lambda x=x: dilated_step(x))
        print(f"length {length:3}: {value:.2f}  ({times})")


if __name__ == "__main__":
    main()
