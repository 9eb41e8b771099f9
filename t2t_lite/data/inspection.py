"""Statistics, examples and pictures of a problem's stored data, for t2t-inspect."""

import collections
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PilImage

from t2t_lite.data import lengths
from t2t_lite.data.encoding import load_vocabularies
from t2t_lite.data.manifest import Manifest, Split
from t2t_lite.data.records import DamageError, parse, read_records
from t2t_lite.data.vocabulary import Vocabulary
from t2t_lite.errors import UserError
from t2t_lite.escapes import escape_controls
from t2t_lite.media.drawing import contact_sheet, spectrogram
from t2t_lite.problems.features import Audio, Image, Label, Text
from t2t_lite.problems.problem import Problem, get_problem
from t2t_lite.progress import format_bytes

_MAX_EXAMPLES = 20_000  # read for the statistics, the same number from each shard
_MAX_MEDIA = 100  # of these examples the pictures and sounds are kept; of the others only text and classes
_PICTURES, _SOUNDS = 40, 8  # the numbers drawn
_BAR_WIDTH = 40  # characters

Stored = dict[str, bytes | list[int]]


class Inspection:
    """The data of one split of one problem.

    Args:
      data_dir: the folder of the records.
      name: the problem.
      split: the split.

    Raises:
      UserError: the problem has no data there or no such split, or a record is damaged.
    """

    def __init__(self, data_dir: Path, name: str, split: str):
        self._data_dir, self._split_name = data_dir, split
        self.manifest = Manifest.load(data_dir, name)
        if split not in self.manifest.splits:
            raise UserError(f"problem '{name}' has no split '{split}'; it has {', '.join(self.manifest.splits)}")
        self.problem: Problem = get_problem(name)
        self.problem.adopt(self.manifest.declaration)
        self._features = self.problem.keyed_features
        self._width = 1 + max(map(len, ("targets", *self._features)))  # of the column of keys
        self._vocabularies = load_vocabularies(self.problem, data_dir)
        self._examples: list[Stored] = []
        for number, stored in enumerate(self._read()):
            if number >= _MAX_MEDIA:
                stored = {key: value for key, value in stored.items() if not isinstance(value, bytes)}
            self._examples.append(stored)

    def report(self, examples: int) -> str:
        """The statistics and some examples as text, without control characters.

        Args:
          examples: the number of examples, at most 100.
        """
        lines = list(self._counts())
        if any(isinstance(feature, Text | Audio) for feature in self._features.values()):
            lines += ["", *self._lengths()]
        for key, feature in self._features.items():
            if isinstance(feature, Text):
                lines += ["", *self._tokens(key, self._vocabularies[feature.vocab])]
            elif isinstance(feature, Label):
                lines += ["", *self._classes(key, feature)]
        for stored in self._examples[: min(examples, _MAX_MEDIA)]:
            lines += ["", *(f"  {key:{self._width}}{self.describe_value(key, stored)}" for key in self._features)]
        return "\n".join(map(escape_controls, lines))

    def draw(self, out_dir: Path) -> list[Path]:
        """Draws a contact sheet of the pictures, and spectrograms of some sounds; returns the PNG files written."""
        drawn: list[tuple[str, PilImage.Image]] = []
        stem = f"{self.problem.name}-{self._split_name}"
        for key, feature in self._features.items():
            others = [other for other in self._features if other != key]

            def label(stored: Stored, others: list[str] = others) -> str:
                return " ".join(self.describe_value(other, stored) for other in others)

            if isinstance(feature, Image):
                pictures = [(_picture(stored[key]), label(stored)) for stored in self._examples[:_PICTURES]]
                drawn.append((f"{stem}-{key}.png", contact_sheet(pictures)))
            elif isinstance(feature, Audio):
                for number, stored in enumerate(self._examples[:_SOUNDS]):
                    picture = spectrogram(_samples(stored[key]), feature.sample_rate, label(stored))
                    drawn.append((f"{stem}-{key}-{number}.png", picture))
        if drawn:
            out_dir.mkdir(parents=True, exist_ok=True)
        for name, picture in drawn:
            picture.save(out_dir / name)
        return [out_dir / name for name, _ in drawn]

    def describe_value(self, key: str, stored: Stored) -> str:
        """The inputs or targets of an example as text."""
        feature, value = self._features[key], stored[key]
        if isinstance(feature, Text):
            assert isinstance(value, list)
            return self._vocabularies[feature.vocab].decode(value)
        if isinstance(feature, Label):
            return feature.classes[int(value[0])]
        if isinstance(feature, Audio):
            return f"(sound, {len(_samples(value)) / feature.sample_rate:.2f} s)"
        return "(picture, {} x {})".format(*_picture(value).size)

    def _read(self) -> Iterator[Stored]:
        """Yields examples, the same number from each shard, in the order of the split."""
        shards = self._split.shards
        most = -(-_MAX_EXAMPLES // len(shards))
        files = [itertools.islice(read_records(self._data_dir / shard.name), most) for shard in shards]
        try:
            for records in itertools.zip_longest(*files):
                yield from (parse(record) for record in records if record is not None)
        except DamageError as e:
            raise UserError(
                f"{self._data_dir}: a file of problem '{self.problem.name}' is damaged ({e}); to find it, run "
                f"t2t-datagen --verify --data_dir={self._data_dir}"
            ) from e

    @property
    def _split(self) -> Split:
        return self.manifest.splits[self._split_name]

    def _counts(self) -> Iterator[str]:
        source = self.manifest.source
        yield f"{self.problem.name}: {source.get('description', '')}".rstrip(": ")
        for name, split in self.manifest.splits.items():
            more = f", {split.broken:,} broken examples left out" if split.broken else ""
            files = f"{len(split.shards)} file{'s' if len(split.shards) > 1 else ''}"
            yield f"  {name:{self._width}}{split.examples:,} examples, {files}, {format_bytes(split.bytes)}{more}"
        for key, feature in self._features.items():
            yield f"  {key:{self._width}}{type(feature).__name__}, " + ", ".join(_describe_feature(feature))

    def _lengths(self) -> Iterator[str]:
        for key, feature in self._features.items():
            if isinstance(feature, Text | Audio):
                stats, unit = self._split.lengths[key], "tokens" if isinstance(feature, Text) else "samples"
                yield f"length of {key}: mean {stats['mean']:,.1f}, longest {stats['max']:,.0f} {unit}"
        yield f"positions of the longer side, {self._split_name}:"
        boundaries = lengths.bucket_boundaries(self.problem.inputs, self.problem.targets)
        counts = lengths.count_in_buckets(self._split.positions, boundaries)
        most = max(*counts.values(), self._split.too_long, 1)
        for boundary, count in counts.items():
            yield f"  up to {boundary:>5}  {_bar(count, most)}"
        if self._split.too_long:
            yield f"  longer       {_bar(self._split.too_long, most)}"

    def _tokens(self, key: str, vocabulary: Vocabulary) -> Iterator[str]:
        ids: collections.Counter[int] = collections.Counter()
        characters = 0
        for stored in self._examples:
            value = stored[key]
            assert isinstance(value, list)
            ids.update(value)
            characters += len(vocabulary.decode(value))
        total = max(1, ids.total())
        yield f"tokens of {key}, in {len(self._examples):,} examples:"
        yield f"  {ids.total():,} tokens, {characters / total:.2f} characters each"
        yield f"  {len(ids):,} of {vocabulary.size:,} ids of the vocabulary occur"
        byte_tokens = sum(count for i, count in ids.items() if vocabulary.is_byte(i))
        yield f"  {byte_tokens / total:.2%} are single bytes, which spell characters without a piece"
        common = ", ".join(f"{vocabulary.piece(i)} {count / total:.1%}" for i, count in ids.most_common(10))
        yield f"  most common: {common}"

    def _classes(self, key: str, feature: Label) -> Iterator[str]:
        names = [escape_controls(name) for name in feature.classes]
        counts = collections.Counter(names[int(stored[key][0])] for stored in self._examples)
        occurring = f"{len(counts)} of {len(feature.classes)} occur"
        yield f"classes of {key}, in {len(self._examples):,} examples ({occurring}):"
        width = max(map(len, counts))
        for name, count in counts.most_common(20):
            yield f"  {name:{width}}  {_bar(count, max(counts.values()))}"
        if len(counts) > 20:
            yield f"  and {len(counts) - 20} less common classes"


def _describe_feature(feature: Any) -> Iterator[str]:
    """The attributes of a feature; only the lengths of lists."""
    for name, value in vars(feature).items():
        yield f"{name}={value}" if not isinstance(value, tuple) else f"{len(value)} {name}"


def _bar(count: int, most: int) -> str:
    return f"{'#' * round(_BAR_WIDTH * count / most):{_BAR_WIDTH}}  {count:,}"


def _picture(content: Any) -> PilImage.Image:
    return PilImage.open(io.BytesIO(content))


def _samples(content: Any) -> np.ndarray:
    return np.frombuffer(content, "<i2")
