"""Splits in which near-duplicates stay together, and the check that they do."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from t2t_lite.errors import UserError

SPLITS = ("train", "dev", "test")


def normal(text: str) -> str:
    """A text without case, punctuation and digits: texts that differ in nothing else are near-duplicates."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[\W_]+", " ", re.sub(r"\d+", "0", folded)).split()
    return " ".join(words) or " ".join(folded.split())


@dataclass(frozen=True)
class Assignment:
    """The splits of items.

    Attributes:
      splits: the split of each item.
      note: how many items are in another split than they would be in if drawn one by one.
    """

    splits: list[str]
    note: str


def assign(keys: Sequence[Sequence[str]], held_out: float) -> Assignment:
    """Draws the split of each item by a hash; items that share a key, directly or through others, share the split.

    Args:
      keys: of each item, such as its normalised text in each language; the first one is its name, which no other has.
      held_out: the fraction of dev, and that of test.
    """
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = key = parents[parent]
        return key

    for own, *others in keys:
        for other in others:
            first, second = sorted((root(own), root(other)))
            parents[second] = first  # the smallest key is the root, in whatever order the items come
    roots = [root(own) for own, *_ in keys]
    splits = [_draw(each, held_out) for each in roots]
    moved = sum(_draw(own, held_out) != split for (own, *_), split in zip(keys, splits, strict=True))
    largest = max(Counter(roots).values(), default=0)
    note = f"moved to the split of a near-duplicate: {moved:,} (largest group: {largest:,})"
    return Assignment(splits, note)


def _draw(key: str, held_out: float) -> str:
    number = int.from_bytes(hashlib.blake2b(key.encode("utf8", "surrogatepass"), digest_size=6).digest(), "big") / 2**48
    return "dev" if number < held_out else "test" if number < 2 * held_out else "train"


def check(name: str, keys: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Checks that no key is in two splits.

    Args:
      name: of the data, for the message.
      keys: the split and the keys of each item.

    Raises:
      UserError: a key is in two splits, or a split is empty.
    """
    places: dict[str, str] = {}
    counts: dict[str, int] = defaultdict(int)
    for split, item_keys in keys:
        counts[split] += 1
        for key in item_keys:
            if places.setdefault(key, split) != split:
                raise UserError(f"{name}: '{key[:80]}' is in {places[key]} and in {split}")
    for split in SPLITS:
        if not counts[split]:
            raise UserError(f"{name}: no examples for {split}: the packages hold too little")
