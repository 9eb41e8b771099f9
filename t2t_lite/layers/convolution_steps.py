"""Runs all causal ConvBlocks of a body for one position after the other, as decoding does.

The past inputs' part of a depthwise convolution does not depend on the current position, so it is computed for all
blocks at once before the first one runs, and the inputs of all blocks are stored at once after the last: a position
then takes half as many operations as with a window for each convolution (benchmarks/decoding.py).

A convolution of dilation d reads, at position p, only inputs of positions p - d, p - 2 d, ... Its past inputs are kept
in d ring buffers, used in turn: an input replaces the oldest one in place, and the kernel is rotated instead of the
buffer.

Shapes: B batch, D hidden, N blocks, h kernel height, C = N D.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from t2t_lite.layers.convolution import STEPS_OF_BLOCK, ConvBlock
from t2t_lite.layers.in_place import empty_buffer, write_rows


def initial_state(blocks: Sequence[ConvBlock], batch: tf.Tensor, reordered: bool = False) -> dict[str, Any]:
    """The state before the first position.

    Args:
      blocks: the causal ConvBlocks in the order in which they run.
      batch: B.
      reordered: whether rows will be selected after each position, as beam search does.

    Returns:
      windows: for each of a block's four steps its windows, one for each position of its dilation: (h - 1, B, C).
      past_kernels: for each of the four steps, all taps but the last, twice: (2 (h - 1), 1, C, 1).
      last_taps: for each of the four steps, the tap of the current position: (C,).
      pending: if reordered, for each of the four steps the rows of each window that are selected: (dilation, B).
    """
    state: dict[str, Any] = {"windows": [], "past_kernels": [], "last_taps": [], "pending": []}
    for number, (height, dilation) in enumerate(STEPS_OF_BLOCK):
        kernel = tf.concat([tf.cast(block.steps[number].depthwise, block.compute_dtype) for block in blocks], axis=2)
        shape = [height - 1, batch, kernel.shape[2]]
        state["windows"].append(tuple(empty_buffer(shape, kernel.dtype) for _ in range(dilation)))
        state["past_kernels"].append(tf.concat([kernel[:-1], kernel[:-1]], axis=0))
        state["last_taps"].append(kernel[-1, 0, :, 0])
        if reordered:
            state["pending"].append(tf.tile(tf.range(batch)[None], [dilation, 1]))
    return {key: tuple(values) for key, values in state.items()}


def select_rows(state: dict[str, Any], rows: tf.Tensor) -> dict[str, Any]:
    """The state of the rows `rows` (B',) of the batch.

    If the state was made for it, only their numbers are kept, and a window's rows are gathered when it is read: of a
    dilated convolution's windows that is one of d.
    """
    if state["pending"]:
        return state | {"pending": tuple(tf.gather(pending, rows, axis=1) for pending in state["pending"])}
    gathered = (tuple(tf.gather(window, rows, axis=1) for window in windows) for windows in state["windows"])
    return state | {"windows": tuple(gathered)}


class ConvolutionSteps:
    """One position of all blocks: call it with each block, in their order, then take `next_state`.

    Args:
      blocks: the causal ConvBlocks in the order in which they run.
      state: from `initial_state` or the previous position.
      position: its number, from 0.
    """

    def __init__(self, blocks: Sequence[ConvBlock], state: dict[str, Any], position: tf.Tensor):
        self._blocks, self._state, self._position = blocks, state, position
        self._number = 0  # of the block that runs next
        self._inputs: list[list[tf.Tensor]] = [[] for _ in STEPS_OF_BLOCK]
        self._windows, self._past, self._taps = [], [], []
        for number, (height, _) in enumerate(STEPS_OF_BLOCK):
            window, length = state["windows"][number][0], height - 1
            if state["pending"]:
                window = tf.gather(window, state["pending"][number][0], axis=1)
            start = length - self._oldest(number)
            kernel = state["past_kernels"][number][start : start + length]
            past = tf.nn.depthwise_conv2d(window[None], kernel, [1, 1, 1, 1], "VALID")  # the rows are its columns
            self._windows.append(window)
            self._past.append(tf.split(past[0, 0], len(blocks), axis=1))
            self._taps.append(tf.split(state["last_taps"][number], len(blocks)))

    def _oldest(self, number: int) -> tf.Tensor:
        """The place of the oldest input in the current window, which this position's input replaces."""
        height, dilation = STEPS_OF_BLOCK[number]
        return self._position // dilation % (height - 1)

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
        following, following_pending = [], []
        for number, (windows, inputs) in enumerate(zip(self._state["windows"], self._inputs, strict=True)):
            place = tf.reshape(self._oldest(number), [1])
            moved = write_rows(self._windows[number], place, tf.concat(inputs, axis=1)[None])
            following.append((*windows[1:], moved))
            if self._state["pending"]:
                pending = self._state["pending"][number]
                same = tf.range(tf.shape(pending)[1])[None]
                following_pending.append(tf.concat([pending[1:], same], axis=0))
        return self._state | {"windows": tuple(following), "pending": tuple(following_pending)}
