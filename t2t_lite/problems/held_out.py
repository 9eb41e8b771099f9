"""The dev split of the user's own files that have none: a fraction of the training split, drawn by content.

Equal inputs are on the same side, and the same in every run.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from t2t_lite.errors import UserError
from t2t_lite.problems.problem import Problem


def split_items(problem: Problem, split: str, raw_dir: Path) -> Iterator[Any]:
    """Yields the items of a split: those of `examples`, or with `held_out` the part of the training split."""
    if not problem.held_out or split not in ("train", "dev"):
        yield from problem.examples(split, raw_dir)
        return
    for item in problem.examples("train", raw_dir):
        # A broken item counts to the training split.
        is_dev = not isinstance(item, UserError) and _unit_hash(problem.held_out_key(item)) < problem.held_out
        if is_dev == (split == "dev"):
            yield item


def count_items(problem: Problem, split: str, raw_dir: Path) -> int | None:
    """Returns about how many items `split_items` yields, or None if that is unknown."""
    if not problem.held_out:
        return problem.count(split, raw_dir)
    count = problem.count("train", raw_dir)
    return count and round(count * (problem.held_out if split == "dev" else 1 - problem.held_out))


def _unit_hash(value: Any) -> float:
    """A hash in [0, 1) of a value's content. White space at the ends of a text does not count."""
    if isinstance(value, Path):
        try:
            status = os.stat(value)
            return _file_hash(value, status.st_size, status.st_mtime_ns)
        except OSError:  # reported when it is stored
            return _hash(str(value).encode("utf8", "surrogateescape"))
    if isinstance(value, str):
        return _hash(value.strip().encode("utf8", "surrogatepass"))
    if isinstance(value, tuple | list):
        return _hash(repr(list(map(_unit_hash, value))).encode())
    if isinstance(value, np.ndarray):
        return _hash(value.tobytes())
    return _hash(value if isinstance(value, bytes) else repr(value).encode("utf8", "surrogatepass"))


@cache  # each pass over a split asks again
def _file_hash(path: Path, size: int, modified: int) -> float:
    return _hash(path.read_bytes())


def _hash(content: bytes) -> float:
    return int.from_bytes(hashlib.blake2b(content, digest_size=6).digest(), "big") / 2**48
