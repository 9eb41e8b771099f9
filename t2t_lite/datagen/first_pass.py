"""What is learnt of a training split before anything is stored: for vocabularies, classes and the disk."""

from dataclasses import dataclass
from typing import Any, ClassVar

from t2t_lite.datagen.reservoir_sample import ReservoirSample
from t2t_lite.errors import UserError

_PER_TEXT = 100  # bytes that Python adds to a string
_LONGEST = 10_000  # characters of one text that a sample takes


@dataclass
class FirstPass:
    """What was found in a split.

    Attributes:
      texts: an even sample of the text: {feature: text} of an example.
      items: a few raw items, evenly sampled: (number, item).
      classes: {feature: the class names met}.
      broken: (number, what is wrong) of the broken examples met.
      count: the number of items.
    """

    texts: ReservoirSample
    items: ReservoirSample
    classes: dict[str, set[str]]
    keys: list[str]
    broken: list[tuple[int, str]]
    count: int = 0

    ENOUGH: ClassVar[int] = 32  # items to tell how large records become

    @classmethod
    def of(cls, texts: list[str], labels: list[str], size: int) -> "FirstPass":
        """An empty one.

        Args:
          texts: the features to sample text of.
          labels: the features to collect classes of.
          size: what the sample of text may take, in bytes.
        """
        return cls(
            ReservoirSample(size), ReservoirSample(cls.ENOUGH), {key: set() for key in labels}, [*texts, *labels], []
        )

    def meet(self, number: int, item: Any) -> bool:
        """Counts an item; returns whether it is to be extracted: whether it may be in the sample or has a class."""
        self.count += 1
        if isinstance(item, UserError):
            self._leave_out(number, item)
            return False
        self.items.add(number, 1, (number, item))
        return bool(self.classes) or (bool(self.keys) and self.texts.wants(number))

    def add(self, answers: list[tuple[int, list[Any] | UserError]]) -> None:
        """Takes what `encode_examples.extract` found in some items."""
        for number, values in answers:
            if isinstance(values, UserError):
                self._leave_out(number, values)
                continue
            found = dict(zip(self.keys, values, strict=True))
            for key, names in self.classes.items():
                name = found.pop(key)
                if not isinstance(name, str):
                    raise UserError(f"{key}: class names must be text, not {type(name).__name__}")
                names.add(name)
            # What is no text is told when it comes to be stored.
            texts = {key: value[:_LONGEST] for key, value in found.items() if isinstance(value, str)}
            self.texts.add(number, sum(len(text) + _PER_TEXT for text in texts.values()), texts)

    def merge(self, other: "FirstPass") -> None:
        """Takes what was found in other items of the split."""
        self.texts.merge(other.texts)
        self.items.merge(other.items)
        for key, names in other.classes.items():
            self.classes[key] |= names
        if other.broken:
            self.broken = sorted([*self.broken, *other.broken])
        self.count += other.count

    def _leave_out(self, number: int, error: UserError) -> None:
        self.broken.append((number, str(error)))
