"""Checks of a raw input before the model sees it: is it a text, a picture or a sound, and not too large?

Sizes are read off headers, so that a small file which would unfold to gigabytes is refused before it does."""

import re
import struct

from t2t_lite.serving.limits import Limits, RequestError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Markers of JPEG that start a frame and so hold its size: C0 to CF without C4, C8, CC, which hold tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment behind them
_NO_FILLER = re.compile(rb"[^\xff]")
_MOST_PARTS = 1000  # chunks or segments looked at, as in media/wav.py: files have tens of them at most


def check_input(kind: str, value: bytes, limits: Limits) -> None:
    """Checks one input of a kind: "text", "image" or "audio".

    Raises:
      RequestError: it is something else (422), or exceeds a limit (413).
    """
    {"text": _check_text, "image": _check_picture, "audio": _check_sound}[kind](value, limits)


def _check_text(value: bytes, limits: Limits) -> None:
    try:
        text = value.decode("utf8")
    except UnicodeDecodeError as e:
        raise RequestError(422, "the input is a text, which must be UTF-8") from e
    if len(text) > limits.text_characters:
        raise RequestError(413, f"the text has {len(text):,} characters; at most {limits.text_characters:,} are read")


def _check_picture(value: bytes, limits: Limits) -> None:
    size = _png_size(value) if value.startswith(_PNG) else _jpeg_size(value) if value.startswith(_JPEG) else None
    if size is None:
        raise RequestError(422, 'the input is a picture: the bytes of a PNG or JPEG file as {"b64": "..."}')
    width, height = size
    if width * height > limits.pixels:
        raise RequestError(413, f"the picture has {width:,} x {height:,} pixels; at most {limits.pixels:,} are read")


def _png_size(value: bytes) -> tuple[int, int] | None:
    """Width and height, from the first chunk."""
    return struct.unpack(">II", value[16:24]) if value[12:16] == b"IHDR" and len(value) >= 24 else None


def _jpeg_size(value: bytes) -> tuple[int, int] | None:
    """Width and height, from the first frame."""
    at = 2
    for _ in range(_MOST_PARTS):
        found = _NO_FILLER.search(value, at + 1)
        if value[at : at + 1] != b"\xff" or not found or found.end() + 7 > len(value):
            return None
        marker, at = ord(found[0]), found.end()
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", value[at + 3 : at + 7])
            return width, height
        if marker not in _ALONE:
            at += struct.unpack(">H", value[at : at + 2])[0]
    return None


def _check_sound(value: bytes, limits: Limits) -> None:
    seconds = _wav_seconds(value)
    if seconds is None:
        raise RequestError(422, 'the input is a sound: the bytes of a WAV file as {"b64": "..."}')
    if seconds > limits.sound_seconds:
        raise RequestError(413, f"the sound lasts {seconds:,.1f} seconds; at most {limits.sound_seconds:g} are heard")


def _wav_seconds(value: bytes) -> float | None:
    """How long a WAV file plays, from its chunks `fmt ` and `data`."""
    if value[:4] != b"RIFF" or value[8:12] != b"WAVE":
        return None
    at, bytes_a_second = 12, 0
    for _ in range(_MOST_PARTS):
        if at + 8 > len(value):
            return None
        name, size = value[at : at + 4], struct.unpack("<I", value[at + 4 : at + 8])[0]
        if name == b"fmt " and size >= 16 and at + 24 <= len(value):
            rate, channels, bits = (
                struct.unpack("<I", value[at + 12 : at + 16])[0],
                *struct.unpack("<H", value[at + 10 : at + 12]),
                *struct.unpack("<H", value[at + 22 : at + 24]),
            )
            bytes_a_second = rate * channels * bits // 8
        elif name == b"data":
            # A recorder that streams does not know the size beforehand and claims the largest.
            there = min(size, len(value) - at - 8)
            return there / bytes_a_second if bytes_a_second else None
        at += 8 + size + size % 2
    return None
