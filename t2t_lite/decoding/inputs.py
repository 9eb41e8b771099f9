"""Reads inputs as users name them: a text, or the path of a picture or a sound."""

import os
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError
from t2t_lite.media.picture_files import input_picture
from t2t_lite.media.sound_files import read_sound
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Feature, Text, input_features


def read_input(problem: Problem, text: str, place: str = "") -> Any:
    """Returns the text itself, or the picture or sound at the path; for several inputs a tuple of them.

    Args:
      problem: the problem to answer for.
      text: a line of the user's; several inputs are separated by tabs.
      place: where the line stands, such as FILE:LINE, for messages.

    Raises:
      UserError: there is no such picture or sound, or the line has another number of inputs; the text names the path
        and the place.
    """
    if not isinstance(problem.inputs, tuple):
        return _read_one(problem.inputs, text, place)
    parts = [part.strip() for part in text.split("\t")]
    if len(parts) != len(problem.inputs):
        got = f"expected {describe_input(problem)}, got {len(parts)} parts"
        raise UserError(f"{place}: {got}" if place else got)
    return tuple(_read_one(feature, part, place) for feature, part in zip(problem.inputs, parts, strict=True))


def _read_one(feature: Feature, text: str, place: str) -> Any:
    if isinstance(feature, Text):
        return text
    try:
        if not text.strip():
            raise UserError(f"empty; expected {_describe(feature)}")
        path = Path(os.path.expanduser(text))
        return read_sound(path, feature.sample_rate) if isinstance(feature, Audio) else input_picture(path)
    except (UserError, OSError, ValueError, RuntimeError) as e:  # a NUL in the path, or ~NAME of an unknown user
        raise UserError(f"{place}: {e}" if place else str(e)) from e


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
