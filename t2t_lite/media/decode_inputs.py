"""Pictures and sounds as people give them, decoded in the graph: t2t-decoder and an exported model see the same.

Refused inputs are `tf.errors.InvalidArgumentError`; the text says what was expected.
"""

import tensorflow as tf

from t2t_lite.media.graph_bytes import bytes_at, check
from t2t_lite.media.picture_files import JPEG, MAX_PIXELS, PNG
from t2t_lite.media.wav import read_wav

_EXIF_BYTES = 1 << 18  # of a JPEG file, in which its orientation must stand
_EXIF = (0xFF, 0xE1, None, None, *b"Exif\0\0")  # the segment's marker, its length, its kind
_ORIENTATION = 0x0112
_RATES = (2000, 400_000)  # Hz, of sounds: a lower one would become gigabytes at the rate that is wanted


def decode_picture(content: tf.Tensor) -> tf.Tensor:
    """PNG or JPEG bytes () -> uint8 (rows, columns, 3): upright, on white where it is transparent.

    Palettes, grey, 16 bits a channel and CMYK become RGB. Turned is what the EXIF data of a JPEG file say.
    """
    is_png, is_jpeg = bytes_at(content, 0, len(PNG)) == PNG, bytes_at(content, 0, len(JPEG)) == JPEG
    with tf.control_dependencies([check(is_png | is_jpeg, "not a PNG or JPEG picture")]):
        pixels = tf.cond(is_png, lambda: _decode_png(content), lambda: _decode_jpeg(content))
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    size = tf.io.decode_raw(bytes_at(content, 16, 8), tf.uint8)  # after the name IHDR
    bytes_ = tf.reshape(tf.cast(size, tf.int64), [2, 4])
    with tf.control_dependencies([_check_size(tf.reduce_sum(bytes_ * [1 << 24, 1 << 16, 1 << 8, 1], axis=1))]):
        # Of grey in 1, 2 or 4 bits TensorFlow gets the opacity wrong.
        depth, kind = bytes_at(content, 24, 1), bytes_at(content, 25, 1)
        few_bits = (kind == b"\0") & (depth != b"\x08") & (depth != b"\x10")
        pixels = tf.cond(
            few_bits,
            lambda: tf.pad(tf.io.decode_png(content, channels=3), [[0, 0], [0, 0], [0, 1]], constant_values=255),
            lambda: tf.io.decode_png(content, channels=4),
        )
    colours, opacity = pixels[:, :, :3], pixels[:, :, 3:]
    return tf.cond(tf.reduce_all(opacity == 255), lambda: colours, lambda: _on_white(colours, opacity))


def _on_white(colours: tf.Tensor, opacity: tf.Tensor) -> tf.Tensor:
    """To the bit what Pillow's alpha_composite gives, with which pictures are stored (picture_files.py)."""
    colours, opacity = tf.cast(colours, tf.int32), tf.cast(opacity, tf.int32)
    return tf.cast((colours * opacity + 255 * (255 - opacity) + 127) // 255, tf.uint8)


def _decode_jpeg(content: tf.Tensor) -> tf.Tensor:
    size = tf.io.extract_jpeg_shape(content, tf.int64)[:2]
    with tf.control_dependencies([_check_size(size)]):
        pixels = tf.io.decode_jpeg(content, channels=3)
    orientation = _orientation(content)
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    for axis, orientations in ((0, [3, 4, 7, 8]), (1, [2, 3, 6, 7])):
        turned = tf.reduce_any(orientation == orientations)
        pixels = tf.cond(turned, lambda x=pixels, axis=axis: tf.reverse(x, [axis]), lambda x=pixels: x)
    return pixels


def _check_size(size: tf.Tensor) -> tf.Operation:
    """Before a small file becomes gigabytes of pixels."""
    fits = (tf.reduce_min(size) > 0) & (tf.reduce_max(size) <= MAX_PIXELS) & (tf.reduce_prod(size) <= MAX_PIXELS)
    return check(fits, f"a picture of no size, or of more than {MAX_PIXELS:,} pixels")


def _orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG file, 1 (upright) to 8; 1 where it has none."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, _EXIF_BYTES), tf.uint8), tf.int32)
    head = tf.pad(head, [[0, len(_EXIF)]])
    starts = tf.size(head) - len(_EXIF)
    found = tf.ones([starts], tf.bool)
    for i, byte in enumerate(_EXIF):
        if byte is not None:
            found &= head[i : starts + i] == byte
    tiff = tf.argmax(tf.cast(found, tf.int32), output_type=tf.int32) + len(_EXIF)

    def read(places: tf.Tensor, count: int) -> tf.Tensor:
        """Whole numbers of so many bytes at offsets (N,) of the TIFF data."""
        places = tf.clip_by_value(tiff + places, 0, tf.size(head) - count)
        bytes_ = tf.gather(head, places[:, None] + tf.range(count))
        powers = 256 ** tf.range(count)
        little = head[tiff] == ord("I")
        return tf.reduce_sum(bytes_ * tf.where(little, powers, powers[::-1]), axis=1)

    table = tf.clip_by_value(read(tf.constant([4]), 4), 0, _EXIF_BYTES)
    entries = table + 2 + 12 * tf.range(read(table, 2)[0])
    entries = tf.boolean_mask(entries, read(entries, 2) == _ORIENTATION)
    orientation = tf.concat([read(entries + 8, 2), [1]], axis=0)[0]
    return tf.where(tf.reduce_any(found) & (orientation >= 1) & (orientation <= 8), orientation, 1)


def decode_wav(content: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """A WAV file as bytes () -> float32 (N,) in [-1, 1): what `sounds.read_sound` makes of it.

    Channels are averaged, another rate is changed, and the samples are of 16 bits in the end, as they are stored.
    """
    samples, rate = read_wav(content)
    lowest, highest = _RATES
    checks = [
        check((rate >= lowest) & (rate <= highest), f"a WAV file of less than {lowest} or more than {highest} Hz"),
        check(tf.shape(samples)[0] > 0, "a WAV file without samples"),
        check(tf.reduce_all(tf.math.is_finite(samples)), "a WAV file with samples that are not finite"),
    ]
    with tf.control_dependencies(checks):
        samples = tf.reduce_mean(samples, axis=1)
    samples = tf.cond(rate == sample_rate, lambda: samples, lambda: _resample(samples, rate, sample_rate))
    return tf.clip_by_value(tf.round(samples * 32768.0), -32768.0, 32767.0) / 32768.0


def _resample(samples: tf.Tensor, rate: tf.Tensor, wanted: int) -> tf.Tensor:
    """`sounds.resample` in the graph."""
    divisors = tf.constant([d for d in range(1, wanted + 1) if wanted % d == 0])
    common = tf.reduce_max(tf.where(rate % divisors == 0, divisors, 1))
    down, up = rate // common, wanted // common
    blocks = -(-(tf.size(samples) + rate // 20) // down)
    spectrum = tf.signal.rfft(tf.cast(samples, tf.float64), [blocks * down])
    kept = tf.minimum(tf.size(spectrum), blocks * up // 2 + 1)
    changed = tf.signal.irfft(spectrum[:kept], [blocks * up]) * tf.cast(up / down, tf.float64)
    size = -(-tf.size(samples, tf.int64) * wanted // tf.cast(rate, tf.int64))
    return tf.cast(tf.clip_by_value(changed[:size], -1.0, 1.0), tf.float32)
