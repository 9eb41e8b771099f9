"""Converts and serializes raw examples. Runs in datagen's worker processes, without TensorFlow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from t2t_lite.data.encoding import encode_value, load_vocabularies
from t2t_lite.data.records import frame_record, serialize
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.datagen.split_stats import SplitStats
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Feature, Text
from t2t_lite.problems.problem import Problem, get_problem


@dataclass(frozen=True)
class ProblemSpec:
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


@dataclass
class EncodedPart:
    """What became of some items that follow each other.

    Attributes:
      items: how many.
      records: the examples as framed records, in order.
      broken: (the item's number in the split, why it cannot be stored) of the rest.
      tally: what is counted of the records.
    """

    items: int
    records: list[bytes]
    broken: list[tuple[int, str]]
    tally: SplitStats


def extract(
    spec: ProblemSpec, split: str, keys: Sequence[str], items: Sequence[tuple[int, Any]]
) -> list[tuple[int, list[Any] | UserError]]:
    """Converts items and returns the raw values of some features, for vocabularies and classes.

    Args:
      spec: the problem.
      split: which split the items are of.
      keys: of "inputs", "targets".
      items: (number in the split, what `Problem.examples` yielded).

    Returns:
      (number, the values) of each item; in place of the values, why a broken example has none.
    """
    problem = resolved_problem(spec)
    found: list[tuple[int, list[Any] | UserError]] = []
    for number, item in items:
        try:
            example = _convert(problem, split, number, item)
            found.append((number, [_made(example[key]) for key in keys]))
        except UserError as e:
            found.append((number, e))
        except Exception as e:
            found.append((number, UserError(f"{_where(problem, split, number)}: {type(e).__name__}: {e}")))
    return found


def encode(spec: ProblemSpec, split: str, items: Sequence[tuple[int, Any]]) -> EncodedPart:
    """Converts and serializes items, given as to `extract`."""
    problem, vocabularies = resolved_problem(spec), _vocabularies(spec)
    part = EncodedPart(len(items), [], [], SplitStats())
    examples: dict[int, dict[str, Any]] = {}
    for number, item in items:
        try:
            examples[number] = _convert(problem, split, number, item)
        except UserError as e:
            part.broken.append((number, str(e)))
    features: dict[str, Feature] = {"inputs": problem.inputs, "targets": problem.targets}
    tokens = {key: _tokens(feature, key, examples, vocabularies) for key, feature in features.items()}
    for number, example in examples.items():
        stored: dict[str, bytes | list[int]] = {}
        sizes = {}
        try:
            for key, feature in features.items():
                ids = tokens[key].get(number)
                if ids is not None:
                    stored[key], sizes[key] = ids, len(ids)
                    continue
                try:
                    stored[key], sizes[key] = encode_value(feature, _made(example[key]), vocabularies)
                except Exception as e:
                    reason = e if isinstance(e, UserError | ValueError | TypeError) else f"{type(e).__name__}: {e}"
                    raise UserError(f"{_where(problem, split, number)}, {key}: {reason}") from e
        except UserError as e:
            part.broken.append((number, str(e)))
        else:
            record = frame_record(serialize(stored))
            part.records.append(record)
            part.tally.count(features, sizes, len(record))
    part.broken.sort()
    return part


def _made(value: Any) -> Any:
    """A value that `Problem.convert` gave, which may be a function that makes it."""
    return _encodable(value()) if callable(value) else value


def _encodable(value: Any) -> Any:
    """The value, unless it is a text that has no UTF-8, which sentencepiece fails at."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf8")
        except UnicodeEncodeError as e:
            raise UserError(f"character {e.start + 1} of the text is half of a surrogate pair") from e
    return value


def _tokens(
    feature: Feature, key: str, examples: dict[int, dict[str, Any]], vocabularies: dict[str, Vocabulary]
) -> dict[int, list[int]]:
    """The ids of one side of those examples where it is text, which is quicker than one by one."""
    if not isinstance(feature, Text):
        return {}
    texts = {number: example[key] for number, example in examples.items() if isinstance(example[key], str)}
    return dict(zip(texts, vocabularies[feature.vocab].encode_all(list(texts.values())), strict=True))


@lru_cache(maxsize=16)
def resolved_problem(spec: ProblemSpec) -> Problem:
    """The problem that a worker is told of."""
    problem = get_problem(spec.problem)
    problem.resolve(Path(spec.raw_dir))
    problem.adopt(json.loads(spec.declaration))
    return problem


@lru_cache(maxsize=16)
def _vocabularies(spec: ProblemSpec) -> dict[str, Vocabulary]:
    return load_vocabularies(resolved_problem(spec), Path(spec.data_dir))


def forget() -> None:
    """Drops what is kept of problems and vocabularies; their files may have changed since."""
    resolved_problem.cache_clear()
    _vocabularies.cache_clear()


def _where(problem: Problem, split: str, number: int) -> str:
    return f"problem '{problem.name}', split '{split}', example {number}"


def _convert(problem: Problem, split: str, number: int, item: Any) -> dict[str, Any]:
    """The example of an item.

    Raises:
      UserError: there is none; the text names the item, or the file and line that the problem names.
    """
    if isinstance(item, UserError):
        raise item
    try:
        example = problem.convert(item)
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"{_where(problem, split, number)}: convert() failed: {type(e).__name__}: {e}") from e
    if not isinstance(example, dict) or not {"inputs", "targets"} <= example.keys():
        raise UserError(f"{_where(problem, split, number)}: not a dict with 'inputs' and 'targets'")
    for key in ("inputs", "targets"):
        try:
            _encodable(example[key])
        except UserError as e:
            raise UserError(f"{_where(problem, split, number)}, {key}: {e}") from e
    return example
