"""The first pass over a training split: samples text for the vocabularies, collects classes, counts examples."""

from dataclasses import dataclass
from typing import Any, ClassVar

from t2t_lite.datagen.reservoir_sample import ReservoirSample
from t2t_lite.errors import UserError

_STRING_OVERHEAD = 100  # bytes that Python adds to a string
_MAX_TEXT = 10_000  # characters of one text that the sample keeps


@dataclass
class FirstPass:
    """Results of the first pass.

    Attributes:
      texts: a sample of the text: {feature: text} of an example.
      items: a sample of the raw items: (number, item).
      classes: {feature: the class names seen}.
      keys: the features whose values are needed: those of `texts`, then those of `classes`.
      broken: (number, reason) of the broken examples seen.
      count: the number of items.
    """

    texts: ReservoirSample
    items: ReservoirSample
    classes: dict[str, set[str]]
    keys: list[str]
    broken: list[tuple[int, str]]
    count: int = 0

    SAMPLE_ITEMS: ClassVar[int] = 32  # raw items kept, to estimate the size of a record

    @classmethod
    def empty(cls, texts: list[str], labels: list[str], sample_bytes: int) -> "FirstPass":
        """Returns an empty one.

        Args:
          texts: the features whose text is sampled.
          labels: the features whose classes are collected.
          sample_bytes: the size of the text sample in memory.
        """
        classes: dict[str, set[str]] = {key: set() for key in labels}
        return cls(ReservoirSample(sample_bytes), ReservoirSample(cls.SAMPLE_ITEMS), classes, [*texts, *labels], [])

    def add_item(self, number: int, item: Any) -> bool:
        """Counts a raw item. Returns whether its values are needed: for a class, or perhaps for the text sample."""
        self.count += 1
        if isinstance(item, UserError):
            self._add_broken(number, item)
            return False
        self.items.add(number, 1, (number, item))
        return bool(self.classes) or (bool(self.keys) and self.texts.wants(number))

    def add_values(self, extracted: list[tuple[int, list[Any] | UserError]]) -> None:
        """Adds values that `encode_examples.extract` returned.

        Raises:
          UserError: the name of a class is not a string.
        """
        for number, values in extracted:
            if isinstance(values, UserError):
                self._add_broken(number, values)
                continue
            by_key = dict(zip(self.keys, values, strict=True))
            for key, names in self.classes.items():
                name = by_key.pop(key)
                if not isinstance(name, str):
                    raise UserError(f"{key}: class names must be text, not {type(name).__name__}")
                names.add(name)
            # A value that is not a string is reported when it is encoded.
            texts = {key: value[:_MAX_TEXT] for key, value in by_key.items() if isinstance(value, str)}
            self.texts.add(number, sum(len(text) + _STRING_OVERHEAD for text in texts.values()), texts)

    def merge(self, other: "FirstPass") -> None:
        """Adds the results for other items of the split."""
        self.texts.merge(other.texts)
        self.items.merge(other.items)
        for key, names in other.classes.items():
            self.classes[key] |= names
        if other.broken:
            self.broken = sorted([*self.broken, *other.broken])
        self.count += other.count

    def _add_broken(self, number: int, error: UserError) -> None:
        self.broken.append((number, str(error)))
