"""Runs all causal ConvBlocks of a body for one position after the other, as decoding does.

The past inputs' part of a depthwise convolution does not depend on the current position, so it is computed for all
blocks at once before the first one runs, and all blocks' windows of past inputs move on at once after the last: a
position then takes half as many operations as with a window for each convolution (benchmarks/decoding.py).

A convolution of dilation d reads, at position p, only inputs of positions p - d, p - 2 d, ... Its past inputs are kept
in d windows that take turns, so that a position rewrites one of them and not all.

Shapes: B batch, D hidden, N blocks, h kernel height, C = N D.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from t2t_lite.layers.convolution import STEPS_OF_BLOCK, ConvBlock


def initial_state(blocks: Sequence[ConvBlock], batch: tf.Tensor) -> dict[str, Any]:
    """The state before the first position.

    Returns:
      windows: for each of a block's four steps its windows, one for each position of its dilation: (B, h - 1, C).
      past_kernels: for each of the four steps, all taps but the last: (h - 1, 1, C, 1).
      last_taps: for each of the four steps, the tap of the current position: (C,).
    """
    windows, past_kernels, last_taps = [], [], []
    for number, (height, dilation) in enumerate(STEPS_OF_BLOCK):
        kernel = tf.concat([tf.cast(block.steps[number].depthwise, block.compute_dtype) for block in blocks], axis=2)
        empty = tf.zeros([batch, height - 1, kernel.shape[2]], kernel.dtype)
        windows.append((empty,) * dilation)
        past_kernels.append(kernel[:-1])
        last_taps.append(kernel[-1, 0, :, 0])
    return {"windows": tuple(windows), "past_kernels": tuple(past_kernels), "last_taps": tuple(last_taps)}


class ConvolutionSteps:
    """One position of all blocks: call it with each block, in their order, then take `next_state`.

    Args:
      blocks: the causal ConvBlocks in the order in which they run.
      state: from `initial_state` or the previous position.
    """

    def __init__(self, blocks: Sequence[ConvBlock], state: dict[str, Any]):
        self._blocks, self._state = blocks, state
        self._number = 0  # of the block that runs next
        self._inputs: list[list[tf.Tensor]] = [[] for _ in STEPS_OF_BLOCK]
        self._past, self._taps = [], []
        for windows, kernel, last in zip(*(state[k] for k in ("windows", "past_kernels", "last_taps")), strict=True):
            past = tf.nn.depthwise_conv2d(windows[0][:, :, None], kernel, [1, 1, 1, 1], "VALID")
            self._past.append(tf.split(tf.reshape(past, [-1, past.shape[-1]]), len(blocks), axis=1))
            self._taps.append(tf.split(last, len(blocks)))

    def __call__(self, block: ConvBlock, x: tf.Tensor) -> tf.Tensor:
        """(B, D) -> (B, D). Equals `block` at this position."""
        if block is not self._blocks[self._number]:
            raise ValueError(f"{block.name} runs as block {self._number}, which is {self._blocks[self._number].name}")

        def step(number: int, x: tf.Tensor) -> tf.Tensor:
            x = tf.nn.relu(x)
            self._inputs[number].append(x)
            x = x * self._taps[number][self._number] + self._past[number][self._number]
            return block.steps[number].after_depthwise(x)

        hidden2 = x + step(1, step(0, x))
        hidden4 = x + step(3, step(2, hidden2))
        self._number += 1
        return hidden4

    def next_state(self) -> dict[str, Any]:
        """The state before the next position, after all blocks have run."""
        following = []
        for windows, inputs in zip(self._state["windows"], self._inputs, strict=True):
            moved = tf.concat([windows[0][:, 1:], tf.concat(inputs, axis=1)[:, None]], axis=1)
            following.append((*windows[1:], moved))
        return self._state | {"windows": tuple(following)}
