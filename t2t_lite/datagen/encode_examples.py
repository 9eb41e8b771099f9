"""Converts, encodes and serializes raw examples. Runs in datagen's worker processes, without TensorFlow."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from t2t_lite.data import lengths
from t2t_lite.data.encoding import encode_value, load_vocabularies
from t2t_lite.data.records import frame_record, serialize
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.datagen.split_stats import SplitStats
from t2t_lite.errors import UserError
from t2t_lite.problems.features import Feature, Text, input_values
from t2t_lite.problems.problem import Problem, get_problem


@dataclass(frozen=True)
class ProblemSpec:
    """What a worker needs to construct a resolved problem.

    Attributes:
      problem: its name.
      raw_dir: the folder of its raw files.
      data_dir: the folder of the vocabularies.
      declaration: the declaration of the resolved problem, as JSON.
    """

    problem: str
    raw_dir: str
    data_dir: str
    declaration: str


@dataclass
class EncodedPart:
    """The result of encoding consecutive items of a split.

    Attributes:
      items: the number of items.
      records: the framed records of the examples, in order.
      broken: (the item's number in the split, reason) of the items that cannot be stored.
      stats: the statistics of the records.
      lengths: the lengths of inputs and targets of the records.
    """

    items: int
    records: list[bytes]
    broken: list[tuple[int, str]]
    stats: SplitStats
    lengths: list[tuple[int, int]] = field(default_factory=list)


def extract(
    spec: ProblemSpec, split: str, keys: Sequence[str], items: Sequence[tuple[int, Any]]
) -> list[tuple[int, list[Any] | UserError]]:
    """Converts items and returns the raw values of some features, for vocabularies and classes.

    Args:
      spec: the problem.
      split: the split of the items.
      keys: of the features.
      items: (number in the split, what `Problem.examples` yielded).

    Returns:
      (number, values) for each item; for a broken item the error takes the place of the values.
    """
    problem = resolved_problem(spec)
    extracted: list[tuple[int, list[Any] | UserError]] = []
    for number, item in items:
        try:
            example = _convert(problem, split, number, item)
            extracted.append((number, [_evaluated(example[key]) for key in keys]))
        except UserError as e:
            extracted.append((number, e))
        except Exception as e:
            extracted.append((number, UserError(f"{_place(problem, split, number)}: {type(e).__name__}: {e}")))
    return extracted


def encode(spec: ProblemSpec, split: str, items: Sequence[tuple[int, Any]]) -> EncodedPart:
    """Converts, encodes and serializes items; the arguments are those of `extract`."""
    problem, vocabularies = resolved_problem(spec), _vocabularies(spec)
    part = EncodedPart(len(items), [], [], SplitStats())
    examples: dict[int, dict[str, Any]] = {}
    for number, item in items:
        try:
            examples[number] = _convert(problem, split, number, item)
        except UserError as e:
            part.broken.append((number, str(e)))
    features = problem.keyed_features
    token_ids = {key: _token_ids(feature, key, examples, vocabularies) for key, feature in features.items()}
    for number, example in examples.items():
        stored: dict[str, bytes | list[int]] = {}
        sizes = {}
        try:
            for key, feature in features.items():
                ids = token_ids[key].get(number)
                if ids is not None:
                    stored[key], sizes[key] = ids, len(ids)
                    continue
                try:
                    stored[key], sizes[key] = encode_value(feature, _evaluated(example[key]), vocabularies)
                except Exception as e:
                    reason = e if isinstance(e, UserError | ValueError | TypeError) else f"{type(e).__name__}: {e}"
                    raise UserError(f"{_place(problem, split, number, example)}, {key}: {reason}") from e
        except UserError as e:
            part.broken.append((number, str(e)))
        else:
            record = frame_record(serialize(stored))
            part.records.append(record)
            part.lengths.append((lengths.stored_inputs_length(problem.inputs, sizes), sizes["targets"]))
            part.stats.add_example(problem, sizes, len(record))
    part.broken.sort()
    return part


def _evaluated(value: Any) -> Any:
    """A value of a converted example, which may be a function that returns it."""
    return _checked_text(value()) if callable(value) else value


def _checked_text(value: Any) -> Any:
    """Returns the value.

    Raises:
      UserError: it is a text with a lone surrogate, which has no UTF-8 form and which sentencepiece rejects.
    """
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf8")
        except UnicodeEncodeError as e:
            raise UserError(f"character {e.start + 1} of the text is half of a surrogate pair") from e
    return value


def _token_ids(
    feature: Feature, key: str, examples: dict[int, dict[str, Any]], vocabularies: dict[str, Vocabulary]
) -> dict[int, list[int]]:
    """{number: token ids} of the examples with text under a key, encoded in one call, which is faster."""
    if not isinstance(feature, Text):
        return {}
    texts = {number: example[key] for number, example in examples.items() if isinstance(example[key], str)}
    return dict(zip(texts, vocabularies[feature.vocab].encode_all(list(texts.values())), strict=True))


@lru_cache(maxsize=16)
def resolved_problem(spec: ProblemSpec) -> Problem:
    """The problem of a spec, resolved."""
    problem, declaration = get_problem(spec.problem), json.loads(spec.declaration)
    problem.adopt(declaration)  # resolve may then leave out what the declaration holds
    problem.resolve(Path(spec.raw_dir))
    problem.adopt(declaration)
    return problem


@lru_cache(maxsize=16)
def _vocabularies(spec: ProblemSpec) -> dict[str, Vocabulary]:
    return load_vocabularies(resolved_problem(spec), Path(spec.data_dir))


def clear_caches() -> None:
    """Clears the caches of problems and vocabularies, whose files may have changed."""
    resolved_problem.cache_clear()
    _vocabularies.cache_clear()


def _place(problem: Problem, split: str, number: int, example: Any = None) -> str:
    """Names an example for messages: by file and line if the problem gives them as "where"."""
    if isinstance(example, dict) and isinstance(example.get("where"), str):
        return str(example["where"])
    return f"problem '{problem.name}', split '{split}', example {number}"


def _convert(problem: Problem, split: str, number: int, item: Any) -> dict[str, Any]:
    """Converts an item to an example.

    Raises:
      UserError: the item is broken. The text names the item, or the file and line if the problem does.
    """
    if isinstance(item, UserError):
        raise item
    try:
        example = problem.convert(item)
    except UserError:
        raise
    except Exception as e:
        raise UserError(f"{_place(problem, split, number)}: convert() failed: {type(e).__name__}: {e}") from e
    if not isinstance(example, dict) or not {"inputs", "targets"} <= example.keys():
        raise UserError(f"{_place(problem, split, number)}: not a dict with 'inputs' and 'targets'")
    try:
        example = example | input_values(problem.inputs, example["inputs"])
    except UserError as e:
        raise UserError(f"{_place(problem, split, number, example)}: {e}") from e
    for key in problem.keyed_features:
        try:
            _checked_text(example[key])
        except UserError as e:
            raise UserError(f"{_place(problem, split, number, example)}, {key}: {e}") from e
    return example
