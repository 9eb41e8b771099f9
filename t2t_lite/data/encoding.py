"""From raw examples to serialized records. Runs in datagen's worker processes and knows nothing of TensorFlow."""

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps, UnidentifiedImageError

from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Audio, Feature, Image, Label, Text
from t2t_lite.problems.problem import Problem, get_problem

MAX_PIXELS = 1 << 25  # of a picture that is to be answered
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"  # what such files begin with

_SPARE = 2  # a stored picture's shorter side is at most so many times what the network sees: room for crops
_ORIENTATION = 0x0112  # EXIF: 1 is upright

Encoded = tuple[bytes, dict[str, int]]  # a serialized tf.train.Example; {"inputs": length, "targets": length}


@dataclass(frozen=True)
class Spec:
    """What a worker must know to take up a problem.

    Attributes:
      problem: its name.
      raw_dir: the folder of its raw files.
      data_dir: where the vocabularies are.
      declaration: of the resolved problem, as JSON.
    """

    problem: str
    raw_dir: str
    data_dir: str
    declaration: str


def extract(spec: Spec, split: str, keys: Sequence[str], first: int, items: Sequence[Any]) -> list[list[Any]]:
    """Converts items and returns the raw values of some features, for vocabularies and classes."""
    problem = _problem(spec)
    found = []
    for number, item in enumerate(items, first):
        example = _convert(problem, split, number, item)
        found.append([example[key] for key in keys])
    return found


def encode(spec: Spec, split: str, first: int, items: Sequence[Any]) -> list[Encoded]:
    """Converts and serializes items.

    Args:
      spec: the problem.
      split: which split the items are of, for messages.
      first: the number of the first item in the split, counted from 0.
      items: what `Problem.examples` yielded.

    Raises:
      UserError: an example cannot be stored; the text names it.
    """
    problem, vocabularies = _problem(spec), _vocabularies(spec)
    encoded = []
    for number, item in enumerate(items, first):
        example = _convert(problem, split, number, item)
        stored: dict[str, bytes | list[int]] = {}
        lengths = {}
        for key, feature in (("inputs", problem.inputs), ("targets", problem.targets)):
            try:
                value = example[key]() if callable(example[key]) else example[key]
                stored[key], lengths[key] = encode_value(feature, value, vocabularies)
            except (UserError, ValueError, TypeError) as e:
                raise UserError(f"{_where(problem, split, number)}, {key}: {e}") from e
        encoded.append((serialize(stored), lengths))
    return encoded


@lru_cache(maxsize=16)
def _problem(spec: Spec) -> Problem:
    problem = get_problem(spec.problem)
    problem.resolve(Path(spec.raw_dir))
    problem.adopt(json.loads(spec.declaration))
    return problem


@lru_cache(maxsize=16)
def _vocabularies(spec: Spec) -> dict[str, Vocabulary]:
    return load_vocabularies(_problem(spec), Path(spec.data_dir))


def forget() -> None:
    """Drops what is kept of problems and vocabularies; their files may have changed since."""
    _problem.cache_clear()
    _vocabularies.cache_clear()


def load_vocabularies(problem: Problem, data_dir: Path) -> dict[str, Vocabulary]:
    """The vocabularies of a problem's text features, by name."""
    names = [feature.vocab for feature in (problem.inputs, problem.targets) if isinstance(feature, Text)]
    return {name: Vocabulary.load(vocabulary_path(data_dir, name)) for name in dict.fromkeys(names)}


def _where(problem: Problem, split: str, number: int) -> str:
    return f"problem '{problem.name}', split '{split}', example {number}"


def _convert(problem: Problem, split: str, number: int, item: Any) -> dict[str, Any]:
    try:
        example = problem.convert(item)
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"{_where(problem, split, number)}: convert() failed: {type(e).__name__}: {e}") from e
    if not isinstance(example, dict) or not {"inputs", "targets"} <= example.keys():
        raise UserError(f"{_where(problem, split, number)}: not a dict with 'inputs' and 'targets'")
    return example


def encode_value(feature: Feature, value: Any, vocabularies: dict[str, Vocabulary]) -> tuple[bytes | list[int], int]:
    """What is stored of one value, and its length: tokens, samples, or 1."""
    if isinstance(feature, Text):
        if not isinstance(value, str):
            raise UserError(f"expected text, got {type(value).__name__}")
        ids = vocabularies[feature.vocab].encode(value)
        return ids, len(ids)
    if isinstance(feature, Image):
        return image_bytes(value, _SPARE * max(feature.rows, feature.columns)), 1
    if isinstance(feature, Audio):
        samples = pcm16(value)
        return samples.tobytes(), len(samples)
    return [class_index(feature, value)], 1


def class_index(feature: Label, value: Any) -> int:
    """The index of a class's name.

    Raises:
      UserError: there is no such class.
    """
    try:
        return feature.classes.index(value)
    except ValueError:
        known = ", ".join(map(repr, feature.classes[:12]))
        more = ", ..." if len(feature.classes) > 12 else ""
        raise UserError(f"no class {value!r} (of the training split): known are {known}{more}") from None


def pcm16(value: Any) -> np.ndarray:
    """A waveform as little-endian 16-bit samples (N,).

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


def image_bytes(value: Any, shorter: int | None = None) -> bytes:
    """A picture as PNG or JPEG bytes that TensorFlow decodes to RGB; files that are such already stay as they are.

    A picture that a camera turned (EXIF) is stored upright, and one that is far larger than needed is stored smaller.

    Args:
      value: PNG or JPEG bytes, a path, or a uint8 array (rows, columns, 3) or (rows, columns).
      shorter: pixels that the shorter side needs at most; None keeps all.

    Raises:
      UserError: it is no picture; the text names the file.
    """
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            raise UserError(f"expected a uint8 picture, got {value.dtype}")
        return _stored(_shrunk(PilImage.fromarray(value), shorter), "PNG")
    with _opened(value) as (content, picture):
        kind, small = picture.format or "", shorter is None or min(picture.size) <= shorter
        picture.load()  # reads every pixel: a truncated file fails here
        upright = picture.getexif().get(_ORIENTATION, 1) == 1
        plain = picture.mode in ("RGB", "L", "I;16") and "transparency" not in picture.info
        if kind in ("PNG", "JPEG") and plain and small and upright:
            return content
        picture = _on_white(ImageOps.exif_transpose(picture))
        return _stored(_shrunk(picture, shorter), "JPEG" if kind == "JPEG" else "PNG")


def given_picture(value: Any) -> bytes:
    """A picture that is to be answered, as the PNG or JPEG bytes that it is; another format is made PNG.

    Args:
      value: a path or bytes.

    Raises:
      UserError: it is no picture, or too large; the text names the file.
    """
    with _opened(value) as (content, picture):
        if picture.width * picture.height > MAX_PIXELS:
            found = f"{picture.width} x {picture.height} pixels"
            name = value if isinstance(value, str | Path) else "the picture"
            raise UserError(f"{name}: {found}, of which there may be {MAX_PIXELS:,}")
        picture.load()
        if content.startswith((PNG, JPEG)):
            return content
        return _stored(_on_white(ImageOps.exif_transpose(picture)), "PNG")


@contextlib.contextmanager
def _opened(value: Any) -> Iterator[tuple[bytes, PilImage.Image]]:
    """A file's bytes and its picture, whose pixels may be read inside.

    Raises:
      UserError: it is no picture; the text names the file.
    """
    name = value if isinstance(value, str | Path) else "the picture"
    try:
        content = Path(value).read_bytes() if isinstance(value, str | Path) else bytes(value)
        with PilImage.open(io.BytesIO(content)) as picture:
            yield content, picture
    except (OSError, SyntaxError, PilImage.DecompressionBombError) as e:
        reason = "of another kind" if isinstance(e, UnidentifiedImageError) else getattr(e, "strerror", None) or e
        raise UserError(f"{name}: not a readable PNG or JPEG picture ({reason})") from e


def _shrunk(picture: PilImage.Image, shorter: int | None) -> PilImage.Image:
    """A picture whose shorter side is at most so long, of the same aspect."""
    if shorter is None or min(picture.size) <= shorter:
        return picture
    scale = shorter / min(picture.size)
    columns, rows = (max(1, round(scale * side)) for side in picture.size)
    return picture.resize((columns, rows), PilImage.Resampling.BICUBIC, reducing_gap=3.0)


def _on_white(picture: PilImage.Image) -> PilImage.Image:
    """A picture of any mode as RGB; what is transparent becomes white."""
    if picture.mode in ("I", "I;16"):  # 16 bits a pixel, which Pillow would cut off at 255
        picture = PilImage.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return PilImage.alpha_composite(PilImage.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _stored(picture: PilImage.Image, kind: str) -> bytes:
    """A picture in a file format: "PNG" or "JPEG"."""
    content = io.BytesIO()
    picture.save(content, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return content.getvalue()


def serialize(values: dict[str, bytes | list[int]]) -> bytes:
    """A tf.train.Example in protocol buffer form, written here because workers go without TensorFlow."""
    entries = []
    for key, value in sorted(values.items()):
        # Feature.bytes_list (1) or Feature.int64_list (3); in both, the field 1 holds the values (integers packed)
        kind, content = (1, value) if isinstance(value, bytes) else (3, _varints(value))
        feature = _field(kind, _field(1, content))
        entries.append(_field(1, _field(1, key.encode()) + _field(2, feature)))  # Features.feature: a map entry
    return _field(1, b"".join(entries))  # Example.features


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + _varints([len(content)]) + content


def _varints(values: Iterable[int]) -> bytes:
    coded = bytearray()
    for value in values:
        while value > 0x7F:
            coded.append(value & 0x7F | 0x80)
            value >>= 7
        coded.append(value)
    return bytes(coded)
