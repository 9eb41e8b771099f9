"""Pictures as data URIs: examples, spectrograms, weights of attention as small bitmaps."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from t2t_lite.media.drawing import plain_spectrogram

_LARGEST = 192  # pixels of a picture's longer side
_SOUND = (480, 112)  # pixels of a spectrogram at most
_ACCENT = (106, 95, 224)  # between the style sheet's accents for light and for dark


def picture(content: Any) -> tuple[str, tuple[int, int]]:
    """Returns a picture, given as the bytes of a file, as a data URI, and its size there."""
    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_LARGEST, _LARGEST))
    png, jpeg = _encoded(image, "PNG"), _encoded(image, "JPEG", quality=85)
    return (_uri(png, "png") if len(png) <= len(jpeg) * 1.5 else _uri(jpeg, "jpeg")), image.size


def pixels_uri(pixels: Any) -> str:
    """Returns a picture, given as floats (rows, columns, 3) in [0, 1], as a data URI."""
    image = Image.fromarray(np.uint8(np.clip(np.round(np.asarray(pixels) * 255.0), 0, 255)))
    image.thumbnail((_LARGEST, _LARGEST))
    return _uri(_encoded(image, "JPEG", quality=85), "jpeg")


def spectrogram(samples: np.ndarray, rate: int) -> tuple[str, tuple[int, int]]:
    """Returns the spectrogram of a sound as a data URI, and its size; time goes to the right, frequency upwards."""
    image = plain_spectrogram(samples, rate)
    image = image.resize((min(image.width, _SOUND[0]), min(image.height, _SOUND[1])), Image.Resampling.BOX)
    return _uri(_encoded(image, "JPEG", quality=80), "jpeg"), image.size


def weights_bitmap(weights: np.ndarray) -> str:
    """Returns weights (rows, columns) as a bitmap with a pixel each: the accent colour, the more opaque the larger."""
    return _uri(_encoded(_alpha(weights, _ACCENT), "PNG", optimize=True), "png")


def shade_bitmap(weights: np.ndarray) -> str:
    """Returns a bitmap to lay over a picture: black, the more opaque the smaller the weight (rows, columns)."""
    return _uri(_encoded(_alpha(1.0 - weights / max(float(weights.max()), 1e-9), (0, 0, 0), 0.85), "PNG"), "png")


def _alpha(values: np.ndarray, colour: tuple[int, int, int], most: float = 1.0) -> Image.Image:
    scaled = np.clip(np.nan_to_num(values) / max(float(np.nanmax(values, initial=0.0)), 1e-9), 0, 1)
    pixels = np.empty([*values.shape, 4], np.uint8)
    pixels[..., :3], pixels[..., 3] = colour, np.round(255 * most * scaled)
    return Image.fromarray(pixels)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
