"""Decodes picture and sound files as users give them, in graph mode; t2t-decoder and exported models share it.

A refused input raises `tf.errors.InvalidArgumentError`; the text says what was expected.
"""

import tensorflow as tf

from t2t_lite.media.exif import EXIF_BYTES, ORIENTATION
from t2t_lite.media.graph_bytes import bytes_at, check
from t2t_lite.media.limits import MAX_PIXELS, MAX_SAMPLE_RATE, MAX_SAMPLES, MIN_SAMPLE_RATE
from t2t_lite.media.picture_files import JPEG
from t2t_lite.media.png_check import PNG
from t2t_lite.media.wav import read_wav

_EXIF_SEGMENT = (0xFF, 0xE1, None, None, *b"Exif\0\0")  # of a JPEG file: the marker, the length, the kind
_EXIF_CHUNKS = (b"eXIfII*\0", b"eXIfMM\0*")  # of a PNG file: the name, and the first bytes of the EXIF data
_BYTE_ORDER_BYTES = 4  # at the end of these


def decode_picture(content: tf.Tensor) -> tf.Tensor:
    """Decodes PNG or JPEG bytes () to uint8 (rows, columns, 3), upright, transparent pixels on white.

    Palettes, grey, 16 bits a channel and CMYK become RGB. EXIF data of JPEG and PNG files turn the picture.
    """
    is_png, is_jpeg = bytes_at(content, 0, len(PNG)) == PNG, bytes_at(content, 0, len(JPEG)) == JPEG
    with tf.control_dependencies([check(is_png | is_jpeg, "not a PNG or JPEG picture")]):
        pixels = tf.cond(is_png, lambda: _decode_png(content), lambda: _decode_jpeg(content))
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode_png(content: tf.Tensor) -> tf.Tensor:
    size = tf.io.decode_raw(bytes_at(content, 16, 8), tf.uint8)  # after the name IHDR
    bytes_ = tf.reshape(tf.cast(size, tf.int64), [2, 4])
    with tf.control_dependencies([_check_size(tf.reduce_sum(bytes_ * [1 << 24, 1 << 16, 1 << 8, 1], axis=1))]):
        pixels = tf.io.decode_png(content, channels=4)
    colours, opacity = pixels[:, :, :3], pixels[:, :, 3:]
    # For opaque grey of 1, 2 or 4 bits TensorFlow gives the opacity 1, 3 or 15, the most that these bits hold.
    depth = tf.reshape(tf.io.decode_raw(bytes_at(content, 24, 1), tf.uint8), [])
    few_bits = (bytes_at(content, 25, 1) == b"\0") & (depth < 8)
    full = tf.bitwise.left_shift(tf.constant(1, tf.uint8), tf.minimum(depth, tf.constant(7, tf.uint8))) - 1
    opacity = tf.where(few_bits & (opacity == full), tf.constant(255, tf.uint8), opacity)
    pixels = tf.cond(tf.reduce_all(opacity == 255), lambda: colours, lambda: _on_white(colours, opacity))
    return _turned(pixels, _orientation(_png_exif(content)))


def _on_white(colours: tf.Tensor, opacity: tf.Tensor) -> tf.Tensor:
    """Blends with white, to the bit as Pillow's alpha_composite does for stored pictures (picture_files.py)."""
    colours, opacity = tf.cast(colours, tf.int32), tf.cast(opacity, tf.int32)
    return tf.cast((colours * opacity + 255 * (255 - opacity) + 127) // 255, tf.uint8)


def _decode_jpeg(content: tf.Tensor) -> tf.Tensor:
    size = tf.io.extract_jpeg_shape(content, tf.int64)[:2]
    with tf.control_dependencies([_check_size(size)]):
        pixels = tf.io.decode_jpeg(content, channels=3)
    return _turned(pixels, _orientation(_jpeg_exif(content)))


def _check_size(size: tf.Tensor) -> tf.Operation:
    """Refuses a picture by its header, before a small file becomes gigabytes of pixels."""
    fits = (tf.reduce_min(size) > 0) & (tf.reduce_max(size) <= MAX_PIXELS) & (tf.reduce_prod(size) <= MAX_PIXELS)
    return check(fits, f"a picture of no size, or of more than {MAX_PIXELS:,} pixels")


def _turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns pixels (rows, columns, 3) of an EXIF orientation upright."""
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    for axis, orientations in ((0, [3, 4, 7, 8]), (1, [2, 3, 6, 7])):
        reversed_ = tf.reduce_any(orientation == orientations)
        pixels = tf.cond(reversed_, lambda x=pixels, axis=axis: tf.reverse(x, [axis]), lambda x=pixels: x)
    return pixels


def _jpeg_exif(content: tf.Tensor) -> tf.Tensor:
    """The EXIF data of a JPEG file, from the byte order on; no bytes if it has none."""
    head = tf.strings.substr(content, 0, EXIF_BYTES)
    bytes_ = tf.pad(tf.io.decode_raw(head, tf.uint8), [[0, len(_EXIF_SEGMENT)]])
    starts = tf.size(bytes_) - len(_EXIF_SEGMENT)
    matches = tf.ones([starts], tf.bool)
    for i, byte in enumerate(_EXIF_SEGMENT):
        if byte is not None:
            matches &= bytes_[i : starts + i] == byte
    start = tf.argmax(tf.cast(matches, tf.int32), output_type=tf.int32) + len(_EXIF_SEGMENT)
    return tf.cond(
        tf.reduce_any(matches),
        lambda: tf.strings.substr(head, tf.minimum(start, tf.strings.length(head)), EXIF_BYTES),
        lambda: tf.constant(b""),
    )


def _png_exif(content: tf.Tensor) -> tf.Tensor:
    """The EXIF data of a PNG file, from the byte order on; no bytes if it has none."""
    size = tf.strings.length(content)
    # The bytes before the first such chunk; the whole file if there is none.
    starts = [tf.strings.length(tf.strings.split([content], chunk, maxsplit=1).values[0]) for chunk in _EXIF_CHUNKS]
    start = tf.minimum(tf.reduce_min(tf.stack(starts)) + len(_EXIF_CHUNKS[0]) - _BYTE_ORDER_BYTES, size)
    return tf.strings.substr(content, start, EXIF_BYTES)


def _orientation(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation that EXIF data state, 1 to 8; 1 (upright) if they state none. The same as exif.py finds."""
    data = tf.pad(tf.cast(tf.io.decode_raw(tiff, tf.uint8), tf.int32), [[0, 4]])

    def read(indices: tf.Tensor, count: int) -> tf.Tensor:
        """The numbers in `count` bytes at offsets (N,); bytes behind the end are 0."""
        indices = tf.minimum(indices, tf.size(data) - 4)
        bytes_ = tf.gather(data, indices[:, None] + tf.range(count))
        powers = 256 ** tf.range(count)
        return tf.reduce_sum(bytes_ * tf.where(data[0] == ord("I"), powers, powers[::-1]), axis=1)

    table = read(tf.constant([4]), 4)
    table = tf.where((table < 0) | (table > EXIF_BYTES), EXIF_BYTES, table)  # an offset of 2 GB and more is negative
    entries = table + 2 + 12 * tf.range(read(table, 2)[0])
    entries = tf.boolean_mask(entries, read(entries, 2) == ORIENTATION)
    orientation = tf.concat([read(entries + 8, 2), [1]], axis=0)[0]
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)


def decode_wav(content: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """Decodes a WAV file () to float32 (N,) in [-1, 1), to the same samples as `sound_files.read_sound`.

    Channels are averaged, another sample rate is converted, and samples are rounded to 16 bits, as stored ones are.
    """
    samples, rate = read_wav(content)
    allowed = (rate >= MIN_SAMPLE_RATE) & (rate <= MAX_SAMPLE_RATE)
    # At most MAX_SAMPLES both as read and as resampled.
    max_samples = tf.constant(MAX_SAMPLES, tf.int64)
    max_samples = tf.minimum(max_samples, max_samples * tf.cast(rate, tf.int64) // sample_rate)
    checks = [
        check(allowed, f"a WAV file of less than {MIN_SAMPLE_RATE} or more than {MAX_SAMPLE_RATE} Hz"),
        check(tf.shape(samples, tf.int64)[0] <= max_samples, f"a WAV file of more than {MAX_SAMPLES:,} samples"),
        check(tf.shape(samples)[0] > 0, "a WAV file without samples"),
        check(tf.reduce_all(tf.math.is_finite(samples)), "a WAV file with samples that are not finite"),
    ]
    with tf.control_dependencies(checks):
        samples = tf.reduce_mean(samples, axis=1)
    samples = tf.cond(rate == sample_rate, lambda: samples, lambda: _resample(samples, rate, sample_rate))
    return tf.clip_by_value(tf.round(samples * 32768.0), -32768.0, 32767.0) / 32768.0


def _resample(samples: tf.Tensor, rate: tf.Tensor, wanted: int) -> tf.Tensor:
    """`sound_files.resample` in the graph."""
    divisors = tf.constant([d for d in range(1, wanted + 1) if wanted % d == 0])
    common = tf.reduce_max(tf.where(rate % divisors == 0, divisors, 1))
    down, up = rate // common, wanted // common
    blocks = -(-(tf.size(samples) + rate // 20) // down)
    spectrum = tf.signal.rfft(tf.cast(samples, tf.float64), [blocks * down])
    kept = tf.minimum(tf.size(spectrum), blocks * up // 2 + 1)
    changed = tf.signal.irfft(spectrum[:kept], [blocks * up]) * tf.cast(up / down, tf.float64)
    size = -(-tf.size(samples, tf.int64) * wanted // tf.cast(rate, tf.int64))
    return tf.cast(tf.clip_by_value(changed[:size], -1.0, 1.0), tf.float32)
