"""Reads inputs as users give them: a text; the path, the bytes or the array of a picture or a sound."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.data.encoding import pcm16
from t2t_lite.errors import UserError
from t2t_lite.media.picture_files import image_bytes, input_picture
from t2t_lite.media.sound_files import read_sound, resample
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Feature, Text, input_features


def read_input(problem: Problem, value: Any, place: str = "") -> Any:
    """Returns a text itself, a picture as PNG or JPEG bytes, a sound as float32 samples; a tuple for several inputs.

    Args:
      problem: the problem to answer for.
      value: a text or, for a picture or a sound, what `read_value` takes; for several inputs a tuple of these, or a
        line in which tabs separate them.
      place: where the value stands, such as FILE:LINE, for messages.

    Raises:
      UserError: it is not a readable input of that kind, or another number of inputs; the text names the path, if there
        is one, and the place.
    """
    if not isinstance(problem.inputs, tuple):
        return _read_one(problem.inputs, value, place)
    parts = [part.strip() for part in value.split("\t")] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or len(parts) != len(problem.inputs):
        count = len(parts) if isinstance(parts, list | tuple) else 1
        got = f"expected {describe_input(problem)}, got {count} parts"
        raise UserError(f"{place}: {got}" if place else got)
    return tuple(_read_one(feature, part, place) for feature, part in zip(problem.inputs, parts, strict=True))


def _read_one(feature: Feature, value: Any, place: str) -> Any:
    if isinstance(feature, Text) and isinstance(value, str):
        return value
    try:
        if isinstance(value, str) and not value.strip():
            raise UserError(f"empty; expected {_describe(feature)}")
        return read_value(feature, value)
    except (UserError, OSError, ValueError, RuntimeError) as e:  # a NUL in the path, or ~NAME of an unknown user
        raise UserError(f"{place}: {e}" if place else str(e)) from e


def read_value(feature: Feature, value: Any) -> Any:
    """Reads one input.

    Args:
      feature: the kind of input.
      value: for a text, a string; for a picture, the path or bytes of a file that Pillow reads, a uint8 array (rows,
        columns, 3) or (rows, columns), or a picture of Pillow's; for a sound, the path or bytes of a file that
        libsndfile reads, an array of int16 or of floats in [-1, 1] at the feature's rate, or a pair (array, rate).

    Returns:
      A string; PNG or JPEG bytes; float32 samples (N,) at the feature's rate.

    Raises:
      UserError: the value is not readable, or of another kind.
    """
    if isinstance(feature, Text):
        if not isinstance(value, str):
            raise UserError(f"expected a text, got {type(value).__name__}")
        return value
    if isinstance(value, str):
        value = Path(os.path.expanduser(value))
    is_file = isinstance(value, Path | bytes)
    if isinstance(feature, Audio):
        return read_sound(value, feature.sample_rate) if is_file else _waveform(value, feature.sample_rate)
    return input_picture(value) if is_file else _picture(value)


def _picture(value: Any) -> bytes:
    """Returns an array, or a picture of Pillow's, as PNG bytes."""
    if hasattr(value, "convert"):  # a palette's indices would be taken for grey
        value = value.convert("RGBA")
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,), (4,)) or pixels.ndim < 2 or not pixels.size:
        raise UserError(f"expected uint8 (rows, columns, 3) or (rows, columns), got {pixels.dtype} {pixels.shape}")
    return image_bytes(pixels)


def _waveform(value: Any, sample_rate: int) -> np.ndarray:
    """Returns an array of samples, or a pair (array, rate), as float32 samples (N,) at the rate."""
    samples, rate = value if isinstance(value, tuple) else (value, sample_rate)
    return resample(pcm16(samples).astype(np.float32) / 32768.0, rate, sample_rate).astype(np.float32)


def describe_input(problem: Problem) -> str:
    """What an input line holds, for prompts and messages."""
    return " and, after a tab, ".join(map(_describe, input_features(problem.inputs).values()))


def _describe(feature: Feature) -> str:
    if isinstance(feature, Text):
        return "a sentence"
    sound = isinstance(feature, Audio)
    return "the path of a sound, such as a WAV or FLAC file" if sound else "the path of a picture"


def size(problem: Problem, text: str) -> int:
    """The size by which inputs are batched: characters of a text, bytes of a file (0 if there is none)."""
    if isinstance(problem.inputs, tuple | Text):
        return len(text)
    try:
        return Path(os.path.expanduser(text)).stat().st_size
    except (OSError, ValueError, RuntimeError):  # `read_input` reports it
        return 0
