"""Reads WAV files in graph mode: integers of 8, 16, 24 or 32 bits, and floats (`tf.audio.decode_wav` reads 16 bits)."""

from collections.abc import Callable

import tensorflow as tf

from t2t_lite.media.graph_bytes import bytes_at, check
from t2t_lite.media.wav_chunks import OTHER_CHUNKS

_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE  # formats; the last one states the true one further behind
_HEADER, _CHUNK = 12, 8  # bytes of "RIFF", a size, "WAVE"; and of a chunk's name and size
_MAX_CHUNKS = 1000  # read at most: files have a handful, and each takes 0.1 ms

# Decoders of samples: {(format, bits): bytes of whole samples -> float32 (N * channels,), full scale at 1}.
_DECODERS: dict[tuple[int, int], Callable[[tf.Tensor], tf.Tensor]] = {
    (_INTEGERS, 8): lambda data: (_decoded(data, tf.uint8) - 128.0) / 128.0,
    (_INTEGERS, 16): lambda data: _decoded(data, tf.int16) / 2.0**15,
    (_INTEGERS, 24): lambda data: _decoded_24(data) / 2.0**23,
    (_INTEGERS, 32): lambda data: _decoded(data, tf.int32) / 2.0**31,
    (_FLOATS, 32): lambda data: _decoded(data, tf.float32),
    (_FLOATS, 64): lambda data: _decoded(data, tf.float64),
}


def read_wav(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads a WAV file, as bytes (), which may be cut off anywhere behind its header.

    Returns:
      float32 (N, channels) samples, full scale at 1; int32 () Hz.

    Raises:
      tf.errors.InvalidArgumentError: not a WAV file, or its samples are of another kind (A-law, ADPCM); in the graph.
    """
    is_wav = (bytes_at(content, 0, 4) == b"RIFF") & (bytes_at(content, 8, 4) == b"WAVE")
    with tf.control_dependencies([check(is_wav, "not a WAV file")]):
        format_at, data_at, data_size = _chunks(content)
    complete = (format_at > 0) & (data_at > 0)
    with tf.control_dependencies([check(complete, "a WAV file that is cut off or damaged")]):
        kind, bits = _number(content, format_at, 2), _number(content, format_at + 14, 2)
    kind = tf.where(kind == _EXTENSIBLE, _number(content, format_at + 24, 2), kind)
    channels, rate = _number(content, format_at + 2, 2), _number(content, format_at + 4, 4)
    matches = tf.stack([(kind == known) & (bits == width) for known, width in _DECODERS])
    checks = [
        check(tf.reduce_any(matches), "a WAV file of samples that are no integers or floats"),
        check(channels > 0, "a WAV file of no channels"),
    ]
    with tf.control_dependencies(checks):
        frame = tf.cast(channels * bits // 8, tf.int32)
        data = tf.strings.substr(content, data_at, data_size // frame * frame)
        chosen = tf.argmax(tf.cast(matches, tf.int32), output_type=tf.int32)
        samples = tf.switch_case(chosen, [lambda decode=decode: decode(data) for decode in _DECODERS.values()])
    rate = tf.cast(tf.minimum(rate, tf.int32.max), tf.int32)
    return tf.reshape(samples, tf.stack([-1, channels])), rate


def _chunks(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The places where the contents of the chunks "fmt " and "data" begin, 0 if missing; the size of "data"."""
    size = tf.strings.length(content)

    def unfinished(at: tf.Tensor, format_at: tf.Tensor, data_at: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return (at + _CHUNK <= size) & ((format_at == 0) | (data_at == 0))

    def step(at: tf.Tensor, format_at: tf.Tensor, data_at: tf.Tensor, data_size: tf.Tensor) -> tuple[tf.Tensor, ...]:
        name, start = tf.strings.substr(content, at, 4), at + _CHUNK
        is_data, rest = name == b"data", size - start
        # A recorder that streams does not know the size beforehand: it claims the largest, or 0 (wav_chunks.py).
        length = tf.cast(tf.minimum(_number(content, at + 4, 4), tf.cast(rest, tf.int64)), tf.int32)
        follows = tf.strings.substr(content, tf.minimum(start, size), 4)
        streamed = is_data & (length == 0) & tf.reduce_all(follows != list(OTHER_CHUNKS))
        length = tf.where(streamed, rest, length)
        format_at = tf.where((name == b"fmt ") & (length >= 16), start, format_at)
        data_at, data_size = tf.where(is_data, start, data_at), tf.where(is_data, length, data_size)
        return start + length + length % 2, format_at, data_at, data_size

    zero = tf.zeros([], tf.int32)
    start = (tf.constant(_HEADER), zero, zero, zero)
    return tf.while_loop(unfinished, step, start, maximum_iterations=_MAX_CHUNKS)[1:]


def _number(content: tf.Tensor, place: tf.Tensor, count: int) -> tf.Tensor:
    """The number in `count` bytes at a place, little-endian, int64 (); bytes behind the file's end are 0."""
    size = tf.strings.length(content)
    number = tf.strings.substr(content, tf.minimum(place, size), count)
    bytes_ = tf.cast(tf.io.decode_raw(tf.strings.join([number, bytes(count)]), tf.uint8)[:count], tf.int64)
    return tf.reduce_sum(bytes_ * [1 << 8 * i for i in range(count)])


def _decoded(data: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(data, dtype), tf.float32)


def _decoded_24(data: tf.Tensor) -> tf.Tensor:
    bytes_ = tf.reshape(tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32), [-1, 3])
    value = bytes_[:, 0] + 256 * bytes_[:, 1] + 65536 * bytes_[:, 2]
    return tf.cast(tf.where(value < 1 << 23, value, value - (1 << 24)), tf.float32)
