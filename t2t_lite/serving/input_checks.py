"""Checks the kind and the size of raw inputs (text, picture, sound) before they reach the model.

Sizes are read from file headers, so that a decompression bomb is refused before it is decoded."""

import re
import struct

from t2t_lite.serving.limits import Limits, RequestError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# JPEG markers of frame headers, which hold the picture's size: C0 to CF, except C4, C8 and CC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a segment
_NOT_FILL_BYTE = re.compile(rb"[^\xff]")
_MAX_PARTS = 1000  # WAV chunks or JPEG segments read, as in media/wav.py; real files have tens at most


def check_input(kind: str, value: bytes, limits: Limits) -> None:
    """Checks one input of a kind: "text", "image" or "audio".

    Raises:
      RequestError: it is of another kind (422), or exceeds a limit (413).
    """
    {"text": _check_text, "image": _check_picture, "audio": _check_sound}[kind](value, limits)


def _check_text(value: bytes, limits: Limits) -> None:
    try:
        text = value.decode("utf8")
    except UnicodeDecodeError as e:
        raise RequestError(422, "the input must be a text in UTF-8") from e
    if len(text) > limits.text_characters:
        raise RequestError(
            413, f"the text has {len(text):,} characters; at most {limits.text_characters:,} are allowed"
        )


def _check_picture(value: bytes, limits: Limits) -> None:
    size = _png_size(value) if value.startswith(_PNG) else _jpeg_size(value) if value.startswith(_JPEG) else None
    if size is None:
        raise RequestError(422, 'the input must be a picture: the bytes of a PNG or JPEG file as {"b64": "..."}')
    width, height = size
    if width * height > limits.pixels:
        raise RequestError(413, f"the picture has {width:,} x {height:,} pixels; at most {limits.pixels:,} are allowed")


def _png_size(value: bytes) -> tuple[int, int] | None:
    """Returns width and height from the first chunk; None if it is not IHDR."""
    return struct.unpack(">II", value[16:24]) if value[12:16] == b"IHDR" and len(value) >= 24 else None


def _jpeg_size(value: bytes) -> tuple[int, int] | None:
    """Returns width and height from the first frame header; None if there is none."""
    at = 2
    for _ in range(_MAX_PARTS):
        match = _NOT_FILL_BYTE.search(value, at + 1)
        if value[at : at + 1] != b"\xff" or not match or match.end() + 7 > len(value):
            return None
        marker, at = ord(match[0]), match.end()
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", value[at + 3 : at + 7])
            return width, height
        if marker not in _STANDALONE:
            at += struct.unpack(">H", value[at : at + 2])[0]
    return None


def _check_sound(value: bytes, limits: Limits) -> None:
    seconds = _wav_seconds(value)
    if seconds is None:
        raise RequestError(422, 'the input must be a sound: the bytes of a WAV file as {"b64": "..."}')
    if seconds > limits.sound_seconds:
        raise RequestError(413, f"the sound lasts {seconds:,.1f} seconds; at most {limits.sound_seconds:g} are allowed")


def _wav_seconds(value: bytes) -> float | None:
    """Returns the duration of a WAV file; None if it has no usable chunks `fmt ` and `data`, in either order."""
    if value[:4] != b"RIFF" or value[8:12] != b"WAVE":
        return None
    at, bytes_per_second, data_bytes = 12, 0, -1
    for _ in range(_MAX_PARTS):
        if at + 8 > len(value):
            return None
        name, size = value[at : at + 4], struct.unpack("<I", value[at + 4 : at + 8])[0]
        if name == b"fmt " and size >= 16 and at + 24 <= len(value):
            channels, rate = struct.unpack("<HI", value[at + 10 : at + 16])
            bits = struct.unpack("<H", value[at + 22 : at + 24])[0]
            bytes_per_second = rate * channels * bits // 8
        elif name == b"data":
            # A streaming recorder does not know the size in advance and writes the largest number, or 0.
            remaining = len(value) - at - 8
            data_bytes = min(size or remaining, remaining)
        if bytes_per_second and data_bytes >= 0:
            return data_bytes / bytes_per_second
        at += 8 + size + size % 2
    return None
