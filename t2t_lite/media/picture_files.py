"""Pictures as files, by Pillow: what is stored of them, and what is made of one that somebody gives."""

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from t2t_lite.errors import UserError

# The share of a picture's shorter side that a crop keeps where there are pixels to spare: 224 of 256 on ImageNet.
CROP_SHARE = 7 / 8
_LONGEST = 4  # a stored picture's sides are at most so many times what they must cover; more of a panorama is cut off
MAX_PIXELS = 1 << 25  # of a picture that is to be answered
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"  # what such files begin with
_ORIENTATION = 0x0112  # EXIF: 1 is upright


def image_bytes(value: Any, cover: tuple[int, int] | None = None) -> bytes:
    """A picture as PNG or JPEG bytes that TensorFlow decodes to RGB; files that are such already stay as they are.

    A picture that a camera turned (EXIF) is stored upright, and one that is larger than needed is stored smaller.

    Args:
      value: PNG or JPEG bytes, a path, or a uint8 array (rows, columns, 3) or (rows, columns).
      cover: rows and columns that it need not more than cover, in its own aspect; None keeps all pixels.

    Raises:
      UserError: it is no picture; the text names the file.
    """
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            raise UserError(f"expected a uint8 picture, got {value.dtype}")
        return _stored(_shrunk(PilImage.fromarray(value), cover), "PNG")
    with _opened(value) as (content, picture):
        is_jpeg, small = picture.format in ("JPEG", "MPO"), _is_small(picture, cover)  # MPO: several, of a telephone
        picture.load()  # reads every pixel: a truncated file fails here
        upright = _upright(picture)
        plain = picture.mode in ("RGB", "L", "I;16") and "transparency" not in picture.info
        if (is_jpeg or picture.format == "PNG") and plain and small and upright is picture:
            return content
        return _stored(_shrunk(_on_white(upright), cover), "JPEG" if is_jpeg else "PNG")


def input_picture(value: Any) -> bytes:
    """A picture that is to be answered, as the PNG or JPEG bytes that it is; another format is made PNG.

    Args:
      value: a path or bytes.

    Raises:
      UserError: it is no picture, or too large; the text names the file.
    """
    with _opened(value) as (content, picture):
        if picture.width * picture.height > MAX_PIXELS:
            found = f"{picture.width} x {picture.height} pixels"
            name = value if isinstance(value, str | Path) else "the picture"
            raise UserError(f"{name}: {found}, of which there may be {MAX_PIXELS:,}")
        picture.load()
        if content.startswith((PNG, JPEG)):
            return content
        return _stored(_on_white(_upright(picture)), "PNG")


@contextlib.contextmanager
def _opened(value: Any) -> Iterator[tuple[bytes, PilImage.Image]]:
    """A file's bytes and its picture, whose pixels may be read inside.

    Raises:
      UserError: it is no picture; the text names the file.
    """
    name = value if isinstance(value, str | Path) else "the picture"
    try:
        content = Path(value).read_bytes() if isinstance(value, str | Path) else bytes(value)
        with PilImage.open(io.BytesIO(content)) as picture:
            yield content, picture
    except UserError:
        raise
    except Exception as e:  # Pillow's readers of rare formats raise whatever comes
        reason = "of another kind" if isinstance(e, UnidentifiedImageError) else getattr(e, "strerror", None) or e
        raise UserError(f"{name}: not a readable PNG or JPEG picture ({reason})") from e


def _upright(picture: PilImage.Image) -> PilImage.Image:
    """The picture itself where it need not be turned: of EXIF data that cannot be read nothing is known."""
    try:
        turned = picture.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(picture) if turned else picture
    except (OSError, SyntaxError, ValueError, struct.error):
        return picture


def _is_small(picture: PilImage.Image, cover: tuple[int, int] | None) -> bool:
    """Whether a picture is no larger than stored ones are."""
    if cover is None:
        return True
    sides = list(zip((picture.height, picture.width), cover, strict=True))
    return any(side <= least for side, least in sides) and all(side <= _LONGEST * least for side, least in sides)


def _shrunk(picture: PilImage.Image, cover: tuple[int, int] | None) -> PilImage.Image:
    """A picture that just covers so many rows and columns; what is far beyond them is cut off on both sides."""
    if cover is None or _is_small(picture, cover):
        return picture
    scale = min(1.0, max(cover[0] / picture.height, cover[1] / picture.width))
    columns, rows = (max(1, round(scale * side)) for side in picture.size)
    picture = picture.resize((columns, rows), PilImage.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = max(0, columns - _LONGEST * cover[1]) // 2, max(0, rows - _LONGEST * cover[0]) // 2
    right, bottom = min(columns, left + _LONGEST * cover[1]), min(rows, top + _LONGEST * cover[0])
    return picture.crop((left, top, right, bottom))


def _on_white(picture: PilImage.Image) -> PilImage.Image:
    """A picture of any mode as RGB; what is transparent becomes white."""
    if picture.mode in ("I", "I;16"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = PilImage.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return PilImage.alpha_composite(PilImage.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _stored(picture: PilImage.Image, kind: str) -> bytes:
    """A picture in a file format: "PNG" or "JPEG"."""
    content = io.BytesIO()
    picture.save(content, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return content.getvalue()
