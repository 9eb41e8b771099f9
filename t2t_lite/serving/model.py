"""Loads an export (a SavedModel and its `export.json`) and runs it; needs only tensorflow and tensorflow-text."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.literal_path import literal_path
from t2t_lite.quiet import suppress_stderr
from t2t_lite.serving.limits import RequestError

ATTENTION = "/attention"  # suffix of the signatures that return attention weights
_KINDS = ("text", "image", "audio")
_CANNOT_READ = {
    "text": "the model cannot read this text",
    "image": "the model cannot read this picture; it takes undamaged PNG and JPEG files",
    "audio": "the model cannot read this sound; it takes undamaged WAV files of integers or floats",
}


class ExportedModel:
    """A loaded export.

    Attributes:
      name: such as "multi_model".
      version: the training step, as text.
      about: the contents of export.json.
      signatures: {name: its arguments, such as ("inputs",)}.
    """

    def __init__(self, folder: Path):
        """Loads the export in a folder.

        Raises:
          UserError: the folder is not an export, or is incomplete.
        """
        self.about = _read_about(folder)
        self.name, self.version = str(self.about["name"]), str(self.about["step"])
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  (its ops are in the graph)

        # UnicodeDecodeError: if TensorFlow's error message quotes binary input, Python cannot decode the message.
        self._errors = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, UnicodeDecodeError)
        self._string = tf.string
        self._constant = tf.constant
        try:
            # TensorFlow warns on standard error that gradients were not exported.
            with suppress_stderr(), literal_path(folder) as path:
                self._loaded = tf.saved_model.load(str(path))  # keeps the weights alive
        except (OSError, ValueError, tf.errors.OpError) as e:
            raise UserError(f"{folder}: not a SavedModel that can be loaded: {_first_line(e)}") from e
        self._functions = dict(self._loaded.signatures)
        for problem in self.about["problems"]:
            if problem not in self._functions:
                raise UserError(f"{folder}: the SavedModel has no signature '{problem}', which export.json names")
        self.signatures = {
            name: tuple(sorted(function.structured_input_signature[1]))
            for name, function in self._functions.items()
            if name.removesuffix(ATTENTION) in self.about["problems"]
        }
        self._signature_defs = _signature_defs(folder / "saved_model.pb", self.signatures)

    def kind(self, signature: str, argument: str = "inputs") -> str:
        """Returns the kind of a signature's argument: "text", "image" or "audio".

        The arguments are `inputs`, or `inputs_0`, `inputs_1` and so on for several inputs, and `outputs`.
        """
        if argument == "outputs":
            return "text"
        kinds = self.about["problems"][signature.removesuffix(ATTENTION)]["inputs"]
        return kinds if isinstance(kinds, str) else kinds[int(argument.removeprefix("inputs_"))]

    def predict(self, signature: str, columns: dict[str, list[bytes]]) -> dict[str, np.ndarray]:
        """Runs a signature on a batch.

        Args:
          signature: its name.
          columns: {argument: the values of all rows}.

        Returns:
          {result: an array whose first dimension is the batch}.

        Raises:
          RequestError: 422, an input is not a readable text, picture or sound.
        """
        arguments = {name: self._constant(values, self._string) for name, values in columns.items()}
        try:
            results = self._functions[signature](**arguments)
        except self._errors as e:
            reason = re.search(r"assertion failed: \[(.+?)\]", str(e))  # of media/graph_bytes.check
            why = f" ({reason[1]})" if reason else ""
            kinds = {self.kind(signature, argument): None for argument in columns if argument != "outputs"}
            cannot = " or ".join(_CANNOT_READ[kind] for kind in kinds)
            raise RequestError(422, f"{cannot}{why}") from e
        return {name: results[name].numpy() for name in sorted(results)}

    def metadata(self) -> dict[str, Any]:
        """Returns the response to GET .../metadata."""
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": self.version},
            "metadata": {"signature_def": {"signature_def": self._signature_defs}},
        }


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / "export.json"
    try:
        # Numbers that JSON does not have (NaN, 1e999) become null: /about sends them on.
        about = json.loads(path.read_text(encoding="utf8"), parse_float=_finite, parse_constant=_finite)
        inputs = [problem["inputs"] for problem in about["problems"].values()]
        kinds = [kind for each in inputs for kind in ([each] if isinstance(each, str) else each)]
        is_valid = {"name", "step"} <= set(about) and kinds and set(kinds) <= set(_KINDS)
    except FileNotFoundError as e:
        raise UserError(f"{folder}: not an export: export.json is missing; t2t-exporter makes it") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"{path}: not what t2t-exporter writes; export the model again") from e
    if not is_valid:
        raise UserError(f"{path}: not what t2t-exporter writes; export the model again")
    return about


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _signature_defs(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """Returns the signatures in protobuf's JSON form, as TensorFlow Serving's metadata has them."""
    from google.protobuf import json_format
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    defs = saved.meta_graphs[0].signature_def
    return {
        name: json_format.MessageToDict(
            defs[name], preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name in names
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
