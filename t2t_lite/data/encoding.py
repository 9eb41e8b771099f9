"""Encodes the value of a feature for storage: token ids, PNG or JPEG bytes, 16-bit PCM, class indices."""

from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError
from t2t_lite.media.picture_files import CROP_SHARE, image_bytes
from t2t_lite.problems.features import Audio, Feature, Image, Label, Text
from t2t_lite.problems.problem import Problem


def load_vocabularies(problem: Problem, data_dir: Path) -> dict[str, Vocabulary]:
    """Loads the vocabularies of a problem's text features: {name: Vocabulary}."""
    names = [feature.vocab for feature in problem.keyed_features.values() if isinstance(feature, Text)]
    return {name: Vocabulary.load(vocabulary_path(data_dir, name)) for name in dict.fromkeys(names)}


def encode_value(feature: Feature, value: Any, vocabularies: dict[str, Vocabulary]) -> tuple[bytes | list[int], int]:
    """Encodes one value. Returns what is stored, and its length: tokens, samples, or 1.

    Raises:
      UserError: the value cannot be encoded.
    """
    if isinstance(feature, Text):
        if not isinstance(value, str):
            raise UserError(f"expected text, got {type(value).__name__}")
        ids = vocabularies[feature.vocab].encode(value)
        return ids, len(ids)
    if isinstance(feature, Image):
        return image_bytes(value, (int(feature.rows / CROP_SHARE), int(feature.columns / CROP_SHARE))), 1
    if isinstance(feature, Audio):
        samples = pcm16(value)
        return samples.tobytes(), len(samples)
    return [class_index(feature, value)], 1


def class_index(feature: Label, value: Any) -> int:
    """Returns the index of a class.

    Raises:
      UserError: there is no such class.
    """
    try:
        return feature.classes.index(value)
    except ValueError:
        known = ", ".join(map(repr, feature.classes[:12]))
        more = ", ..." if len(feature.classes) > 12 else ""
        raise UserError(f"no class {value!r}; known classes: {known}{more}") from None


def pcm16(value: Any) -> np.ndarray:
    """Converts a waveform to little-endian 16-bit samples (N,); samples outside [-1, 1) are clipped.

    Raises:
      UserError: it is not a mono waveform of int16 or finite floating-point samples, or it is empty.
    """
    samples = np.asarray(value)
    if samples.ndim != 1 or not samples.size:
        raise UserError(f"expected a mono waveform (samples,), got shape {samples.shape}")
    if np.issubdtype(samples.dtype, np.floating):
        if not np.isfinite(samples).all():
            raise UserError("the waveform has samples that are not finite")
        return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    if samples.dtype == np.int16:
        return samples.astype("<i2")
    raise UserError(f"expected float samples in [-1, 1] or int16 samples, got {samples.dtype}")
