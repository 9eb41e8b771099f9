"""What people give to be answered: a text, or the path of a picture or a sound."""

import wave
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.data.encoding import image_bytes
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Text


def read_input(problem: Problem, text: str, place: str = "") -> Any:
    """What a user's line stands for: itself, or the picture or sound at that path.

    Args:
      problem: the problem to answer for.
      text: the line.
      place: where it stands, such as FILE:LINE, for messages.

    Raises:
      UserError: there is no such picture or sound; the text names it and the place.
    """
    if isinstance(problem.inputs, Text):
        return text
    try:
        if not text.strip():
            raise UserError(f"empty; expected {what(problem)}")
        path = Path(text).expanduser()
        return read_wav(path, problem.inputs.sample_rate) if isinstance(problem.inputs, Audio) else image_bytes(path)
    except UserError as e:
        raise UserError(f"{place}: {e}" if place else str(e)) from e


def read_wav(path: Path, sample_rate: int) -> np.ndarray:
    """Reads a WAV file of 16-bit samples; channels are averaged.

    Raises:
      UserError: there is no such file, or one of another kind or rate.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2 or file.getframerate() != sample_rate:
                found = f"{8 * file.getsampwidth()} bits at {file.getframerate()} Hz"
                raise UserError(f"{path}: expected 16-bit samples at {sample_rate} Hz, found {found}")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            if not samples.size:
                raise UserError(f"{path}: no sound in it")
            return samples.reshape(-1, file.getnchannels()).mean(axis=1).astype(np.float32) / 32768.0
    except (OSError, EOFError, wave.Error) as e:
        raise UserError(f"{path}: not a readable WAV file ({getattr(e, 'strerror', None) or e})") from e


def what(problem: Problem) -> str:
    """What a line must be, in words."""
    kinds = {"language": "a sentence", "image": "the path of a picture", "audio": "the path of a WAV file"}
    return kinds[problem.inputs.modality]


def size(problem: Problem, text: str) -> int:
    """How large an input is beside others of its problem: characters of a text, bytes of a file (0: no such file)."""
    if isinstance(problem.inputs, Text):
        return len(text)
    try:
        return Path(text).expanduser().stat().st_size
    except OSError:
        return 0
