"""Draws data for people to look at: a contact sheet of pictures, the spectrogram of a sound."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL, _COLUMNS, _MARGIN, _LINE = 128, 8, 6, 13  # in pixels, but _COLUMNS: pictures in a row; a line of text
_LABEL_LINES, _LABEL_CHARACTERS = 3, 22

# From silence to loud: black, violet, orange, light yellow.
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)


def contact_sheet(pictures: Sequence[tuple[Image.Image, str]]) -> Image.Image:
    """Draws pictures of any size in rows, each above its label."""
    rows = -(-len(pictures) // _COLUMNS)
    width, height = _CELL + _MARGIN, _CELL + _LABEL_LINES * _LINE + _MARGIN
    sheet = Image.new("RGB", (min(_COLUMNS, len(pictures)) * width + _MARGIN, rows * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(pictures):
        left, top = _MARGIN + number % _COLUMNS * width, _MARGIN + number // _COLUMNS * height
        scale = _CELL / max(picture.size)
        size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
        shown = picture.convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS)
        sheet.paste(shown, (left + (_CELL - size[0]) // 2, top + (_CELL - size[1]) // 2))
        lines = textwrap.wrap(label, _LABEL_CHARACTERS, max_lines=_LABEL_LINES, placeholder=" ...")
        for line, text in enumerate(lines):
            draw.text((left, top + _CELL + line * _LINE), text, "black", ImageFont.load_default())
    return sheet


def spectrogram(samples: np.ndarray, rate: int, label: str) -> Image.Image:
    """Draws a spectrogram: time to the right (5 ms a pixel), frequency upwards to half the rate, a range of 80 dB.

    Args:
      samples: int16 or float (N,).
      rate: samples a second.
      label: the text above it, such as the words spoken.
    """
    drawn = plain_spectrogram(samples, rate)
    picture = Image.new("RGB", (max(drawn.width, 320), drawn.height + _LINE + 2), "white")
    picture.paste(drawn, (0, _LINE + 2))
    title = f"{len(samples) / rate:.2f} s at {rate} Hz: {label}"
    ImageDraw.Draw(picture).text((2, 1), title, "black", ImageFont.load_default())
    return picture


def plain_spectrogram(samples: np.ndarray, rate: int) -> Image.Image:
    """Draws a `spectrogram` without a label."""
    hop, window = max(1, round(rate * 0.005)), max(8, round(rate * 0.025))
    padded = np.pad(samples.astype(np.float64), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) : hop]
    loud = 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(window), max(256, window))) + 1e-9)  # (time, frequency)
    level = np.clip((loud - loud.max()) / 80 + 1, 0, 1).T[::-1] * (len(_COLOURS) - 1)
    colours = [np.interp(level, np.arange(len(_COLOURS)), channel) for channel in _COLOURS.T]
    return Image.fromarray(np.stack(colours, -1).astype(np.uint8))
