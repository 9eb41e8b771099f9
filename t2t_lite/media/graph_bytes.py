"""Reads bytes of a file and refuses bad input, in graph mode."""

import tensorflow as tf


def check(condition: tf.Tensor, message: str) -> tf.Operation:
    """Raises InvalidArgumentError, `assertion failed: [MESSAGE]`, in the graph unless the condition holds."""
    return tf.debugging.Assert(condition, [message])


def bytes_at(content: tf.Tensor, place: int, count: int) -> tf.Tensor:
    """Returns `count` bytes of a file from a place near its beginning on, padded with zeros if it is shorter."""
    head = tf.strings.join([tf.strings.substr(content, 0, place + count), bytes(place + count)])
    return tf.strings.substr(head, place, count)
