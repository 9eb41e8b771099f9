"""Reads inputs as users name them: a text, or the path of a picture or a sound."""

import os
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError
from t2t_lite.media.picture_files import input_picture
from t2t_lite.media.sound_files import read_sound
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Text


def read_input(problem: Problem, text: str, place: str = "") -> Any:
    """Returns the text itself, or the picture or sound at the path.

    Args:
      problem: the problem to answer for.
      text: a line of the user's.
      place: where the line stands, such as FILE:LINE, for messages.

    Raises:
      UserError: there is no such picture or sound; the text names the path and the place.
    """
    if isinstance(problem.inputs, Text):
        return text
    try:
        if not text.strip():
            raise UserError(f"empty; expected {describe_input(problem)}")
        path = Path(os.path.expanduser(text))
        return (
            read_sound(path, problem.inputs.sample_rate) if isinstance(problem.inputs, Audio) else input_picture(path)
        )
    except (UserError, OSError, ValueError, RuntimeError) as e:  # a NUL in the path, or ~NAME of an unknown user
        raise UserError(f"{place}: {e}" if place else str(e)) from e


def describe_input(problem: Problem) -> str:
    """What an input line holds, for prompts and messages."""
    if isinstance(problem.inputs, Text):
        return "a sentence"
    sound = isinstance(problem.inputs, Audio)
    return "the path of a sound, such as a WAV or FLAC file" if sound else "the path of a picture"


def size(problem: Problem, text: str) -> int:
    """The size by which inputs are batched: characters of a text, bytes of a file (0 if there is none)."""
    if isinstance(problem.inputs, Text):
        return len(text)
    try:
        return Path(os.path.expanduser(text)).stat().st_size
    except (OSError, ValueError, RuntimeError):  # `read_input` reports it
        return 0
