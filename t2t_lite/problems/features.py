"""Features: the kinds of inputs and targets, how they are stored, and the modality net that takes them.

`modality` names a registered modality net; users may register their own.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError


@dataclass(frozen=True)
class Text:
    """A string. Stored as the subword ids of a shared vocabulary, without the end token.

    The vocabulary is built from the training text; or it is `Text(vocab_file="mine.model")`, a sentencepiece model of
    your own, or `Text(vocab="bytes")`, the bytes of UTF-8.
    """

    vocab: str = "subwords"  # the vocabulary's name: problems that name the same one share it; that of vocab_file
    vocab_size: int = 8192  # pieces, the paper's 8k; fewer if the text does not fill it
    symbols: tuple[
        str, ...
    ] = ()  # words that the vocabulary keeps as one piece, such as "(NP"; problems that share it add theirs
    max_length: int = 256  # tokens with the end token; longer examples are left out of training, and cut in decoding
    modality: str = "language"
    vocab_file: str = ""  # a sentencepiece model, whose name without its suffix is then the vocabulary's name

    def __post_init__(self) -> None:
        if self.vocab_file and self.vocab == Text.vocab:
            object.__setattr__(self, "vocab", Path(self.vocab_file).stem)


@dataclass(frozen=True)
class Image:
    """A picture: PNG or JPEG bytes, a path, or a uint8 array (rows, columns, 3). Stored as PNG or JPEG bytes.

    A picture keeps its aspect ratio: it is stored a little larger than the network sees it, and cropped when it is
    read, in training at a random place, otherwise in the middle (`media/crop_pictures.py`).
    """

    rows: int = 32  # the size that the network sees
    columns: int = 32
    modality: str = "image"


@dataclass(frozen=True)
class Audio:
    """A mono waveform: float32 samples in [-1, 1] or int16 samples. Stored as 16-bit PCM."""

    sample_rate: int = 16000  # samples a second
    max_seconds: float = 20.0  # longer examples are left out of training
    modality: str = "audio"


@dataclass(frozen=True)
class Label:
    """One class of a fixed list, given by its name. Stored as its index."""

    classes: tuple[str, ...] = ()  # empty: datagen collects the names from the training split, sorted
    modality: str = "categorical"


Feature = Text | Image | Audio | Label
Inputs = Feature | tuple[Feature, ...]  # of a problem: one, or several whose encoded parts stand one after the other


def parts(inputs: Inputs) -> tuple[Feature, ...]:
    """The features of a problem's inputs."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def input_features(inputs: Inputs) -> dict[str, Feature]:
    """The input features by the keys of records and batches: {"inputs": ...}, or {"inputs_0": ..., "inputs_1": ...}."""
    if not isinstance(inputs, tuple):
        return {"inputs": inputs}
    return {f"inputs_{number}": feature for number, feature in enumerate(inputs)}


def input_values(inputs: Inputs, value: Any) -> dict[str, Any]:
    """The value of an example's inputs by the keys of `input_features`.

    Raises:
      UserError: it is not a tuple or list with a value for each of several features.
    """
    if not isinstance(inputs, tuple):
        return {"inputs": value}
    if not isinstance(value, tuple | list) or len(value) != len(inputs):
        raise UserError(f"inputs: expected a tuple of {len(inputs)} values, got {str(value)[:60]}")
    return {f"inputs_{number}": each for number, each in enumerate(value)}


def to_dict(feature: Feature) -> dict[str, Any]:
    """Returns a feature as JSON values that `from_dict` reads back."""
    values = asdict(feature)
    if feature.modality == type(feature).modality:
        del values["modality"]
    if not values.get("vocab_file", True):
        del values["vocab_file"]
    return {"kind": type(feature).__name__, **values}


def from_dict(stored: dict[str, Any]) -> Feature:
    """The inverse of `to_dict`."""
    kinds: dict[str, Any] = {kind.__name__: kind for kind in (Text, Image, Audio, Label)}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k != "kind"}
    return kinds[stored["kind"]](**values)


def inputs_to_dict(inputs: Inputs) -> Any:
    """Returns the inputs of a problem as JSON values that `inputs_from_dict` reads back: a dict, or a list of them."""
    return [to_dict(feature) for feature in inputs] if isinstance(inputs, tuple) else to_dict(inputs)


def inputs_from_dict(stored: Any) -> Inputs:
    """The inverse of `inputs_to_dict`."""
    return tuple(map(from_dict, stored)) if isinstance(stored, list) else from_dict(stored)
