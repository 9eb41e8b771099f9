"""Arguments that several functions of the interface share: folders, names, settings of the search, inputs."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.hparams.fields import convert_fields
from t2t_lite.quiet import import_tensorflow

Names = str | Sequence[str]
Folder = str | Path


def start_tensorflow() -> None:
    """Imports TensorFlow quietly, as the backend of Keras."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # before the first import of Keras, which reads it
    import_tensorflow()


def existing_folder(path: Folder, name: str, advice: str) -> Path:
    """Returns a folder that a flag or an argument names.

    Raises:
      UserError: there is no such folder; the text ends with the advice.
    """
    folder = Path(os.path.expanduser(path))  # Path.expanduser fails for the ~NAME of an unknown user
    if not folder.is_dir():
        raise UserError(f"--{name}: no folder '{folder}'; {advice}")
    return folder


def list_names(names: Names) -> list[str]:
    """Returns names as a list, if they are given as text with commas."""
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def search_settings(settings: Mapping[str, Any]) -> DecodeHParams:
    """Returns the settings of the search.

    Raises:
      UserError: a name is unknown or a value is wrong.
    """
    return DecodeHParams(**convert_fields(DecodeHParams, dict(settings), "--decode_hparams"))


def input_places(inputs: Sequence[Any]) -> dict[str, Any]:
    """Returns {place for messages: input}."""
    if isinstance(inputs, str | bytes | Path) or not isinstance(inputs, Collection) or isinstance(inputs, np.ndarray):
        raise UserError(f"inputs: expected a list of inputs, got {type(inputs).__name__}; put one input into [ ]")
    return {f"inputs[{number}]": value for number, value in enumerate(inputs)}
