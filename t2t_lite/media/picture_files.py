"""Reads picture files with Pillow: the PNG or JPEG bytes that datagen stores, and that the decoder passes on."""

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.media.exif import ORIENTATION, jpeg_orientation, png_orientation
from t2t_lite.media.limits import MAX_PIXELS, MAX_TRAINING_PIXELS, size_error
from t2t_lite.media.png_check import PNG, check_png

# The fraction of a picture's shorter side that a crop keeps if there are pixels to spare: 224 of 256 on ImageNet.
CROP_SHARE = 7 / 8
JPEG = b"\xff\xd8\xff"  # the first bytes of a JPEG file
_LONGEST = 4  # a stored picture's sides are at most this many times what they must cover; a panorama's ends are cut off
# Formats that Pillow names but that hold no pixels, or that it reads only with the help of other programs.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"}
_TURNS = {
    2: PilImage.Transpose.FLIP_LEFT_RIGHT,
    3: PilImage.Transpose.ROTATE_180,
    4: PilImage.Transpose.FLIP_TOP_BOTTOM,
    5: PilImage.Transpose.TRANSPOSE,
    6: PilImage.Transpose.ROTATE_270,
    7: PilImage.Transpose.TRANSVERSE,
    8: PilImage.Transpose.ROTATE_90,
}  # that make a picture of this EXIF orientation upright


@cache
def picture_suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the picture formats that Pillow reads here: `.png`, `.jpg`, `.webp`, ..."""
    suffixes = PilImage.registered_extensions()
    kinds = {*PilImage.OPEN, "MPO"} - _NOT_READ  # the reader of JPEG opens MPO
    return frozenset(suffix for suffix, kind in suffixes.items() if kind in kinds)


def image_bytes(value: Any, cover: tuple[int, int] | None = None) -> bytes:
    """Returns a picture as PNG or JPEG bytes that TensorFlow decodes to RGB. Files that are so already stay unchanged.

    A picture that EXIF data turn is stored upright, a transparent one on white, and one that is larger than needed is
    stored smaller. Of an animation or a file of several pages, the first picture counts.

    Args:
      value: bytes or path of a picture file, or a uint8 array (rows, columns, 3) or (rows, columns).
      cover: the rows and columns that the stored picture must cover, in its own aspect; None keeps all pixels.

    Raises:
      UserError: not a picture, damaged, or too large; the text names the file.
    """
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            raise UserError(f"expected a uint8 picture, got {value.dtype}")
        return _encoded(_shrunk(PilImage.fromarray(value), cover), "PNG")
    with _opened(value, MAX_TRAINING_PIXELS) as (content, picture):
        is_jpeg, small = picture.format in ("JPEG", "MPO"), _is_small(picture, cover)  # MPO: several, of a telephone
        upright = _upright(picture, content)
        plain = picture.mode in ("RGB", "L", "I;16") and "transparency" not in picture.info
        if (is_jpeg or picture.format == "PNG") and plain and small and upright is picture:
            return content
        return _encoded(_shrunk(_on_white(upright), cover), "JPEG" if is_jpeg else "PNG")


def input_picture(value: Any) -> bytes:
    """Returns a picture to be answered as PNG or JPEG bytes: a PNG or JPEG file unchanged, any other made PNG.

    Args:
      value: bytes or path of a picture file.

    Raises:
      UserError: not a picture, damaged, or too large; the text names the file.
    """
    with _opened(value, MAX_PIXELS) as (content, picture):
        if content.startswith((PNG, JPEG)):
            return content
        return _encoded(_on_white(_upright(picture, content)), "PNG")


@contextlib.contextmanager
def _opened(value: Any, max_pixels: int) -> Iterator[tuple[bytes, PilImage.Image]]:
    """Gives a file's bytes and its picture, all pixels read.

    Raises:
      UserError: not a picture, damaged, or too large; the text names the file.
    """
    name = printable(value) if isinstance(value, str | Path) else "the picture"
    try:
        content = Path(value).read_bytes() if isinstance(value, str | Path) else bytes(value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PilImage.DecompressionBombWarning)  # the limit here is another
            picture = PilImage.open(io.BytesIO(content))
        with picture:
            if error := size_error(*picture.size, max_pixels):
                raise UserError(f"{name}: {error}")
            if content.startswith(PNG):
                check_png(content)
            picture.load()  # a truncated file of another format fails here
            if picture.mode == "F":
                raise ValueError("its pixels are floating-point numbers; save it with 8 bits a channel")
            if content.startswith(PNG):
                _scale_transparent_colour(picture, depth=content[24])
            yield content, picture
    except UserError:
        raise
    except Exception as e:  # Pillow's readers of rare formats raise many kinds of errors
        unknown = isinstance(e, UnidentifiedImageError)
        reason = "no picture format that Pillow reads" if unknown else getattr(e, "strerror", None) or e
        raise UserError(f"{name}: not a readable picture ({reason})") from e


def _scale_transparent_colour(picture: PilImage.Image, depth: int) -> None:
    """Brings the transparent colour of a PNG file to the 8 bits that Pillow makes of its channels of `depth` bits."""
    colour = picture.info.get("transparency")
    if isinstance(colour, tuple) and depth == 16:
        picture.info["transparency"] = tuple(value >> 8 for value in colour)
    elif isinstance(colour, int) and picture.mode == "L" and depth in (2, 4):
        picture.info["transparency"] = colour * (255 // (2**depth - 1))


def _upright(picture: PilImage.Image, content: bytes) -> PilImage.Image:
    """Returns the picture turned as its EXIF data say; the picture itself if it is upright."""
    if content.startswith(PNG):
        orientation = png_orientation(content)
    elif content.startswith(JPEG):
        orientation = jpeg_orientation(content)
    else:
        try:
            orientation = picture.getexif().get(ORIENTATION, 1)
        except (OSError, SyntaxError, ValueError, struct.error):  # unreadable EXIF data
            orientation = 1
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _is_small(picture: PilImage.Image, cover: tuple[int, int] | None) -> bool:
    """Whether a picture is no larger than a stored one may be."""
    if cover is None:
        return True
    sides = list(zip((picture.height, picture.width), cover, strict=True))
    return any(side <= least for side, least in sides) and all(side <= _LONGEST * least for side, least in sides)


def _shrunk(picture: PilImage.Image, cover: tuple[int, int] | None) -> PilImage.Image:
    """Returns the picture resized so that it just covers `cover`, both ends of a very long side cut off."""
    if cover is None or _is_small(picture, cover):
        return picture
    scale = min(1.0, max(cover[0] / picture.height, cover[1] / picture.width))
    columns, rows = (max(1, round(scale * side)) for side in picture.size)
    picture = picture.resize((columns, rows), PilImage.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = max(0, columns - _LONGEST * cover[1]) // 2, max(0, rows - _LONGEST * cover[0]) // 2
    right, bottom = min(columns, left + _LONGEST * cover[1]), min(rows, top + _LONGEST * cover[0])
    return picture.crop((left, top, right, bottom))


def _on_white(picture: PilImage.Image) -> PilImage.Image:
    """Returns a picture of any mode as RGB; transparent pixels become white."""
    if picture.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        values = np.asarray(picture)
        grey = np.clip(values >> 8, 0, 255)
        if isinstance(picture.info.get("transparency"), int):
            grey = np.where(values == picture.info["transparency"], 255, grey)
        return PilImage.fromarray(grey.astype(np.uint8)).convert("RGB")
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return PilImage.alpha_composite(PilImage.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _encoded(picture: PilImage.Image, kind: str) -> bytes:
    """Returns a picture as a file of a format, "PNG" or "JPEG"."""
    content = io.BytesIO()
    picture.save(content, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return content.getvalue()
