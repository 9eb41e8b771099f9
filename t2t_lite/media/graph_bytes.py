"""Reads bytes of a file and refuses bad input, in graph mode."""

import tensorflow as tf


def check(condition: tf.Tensor, message: str) -> tf.Operation:
    """Refuses an input in the graph: `assertion failed: [MESSAGE]`."""
    return tf.debugging.Assert(condition, [message])


def bytes_at(content: tf.Tensor, place: int, count: int) -> tf.Tensor:
    """Bytes near the beginning of a file, zeros where it is shorter."""
    head = tf.strings.join([tf.strings.substr(content, 0, place + count), bytes(place + count)])
    return tf.strings.substr(head, place, count)
