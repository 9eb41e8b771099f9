"""Scenes that the pictures show: one to three coloured shapes on a grid of three rows and three columns."""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")  # the moon is a crescent
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SIZES = ("small", "large")  # radius of about 4.5 and 7.5 pixels of 32
BACKGROUNDS = ("grey", "pink", "brown", "turquoise")  # none of the shapes' colours; not mentioned in captions
CLASSES = tuple(f"{colour}_{shape}" for colour in COLOURS for shape in SHAPES)  # of pictures of one shape, 64

_DEV_PERCENT = 10


@dataclass(frozen=True)
class Thing:
    """A shape at a place of the grid, rotated by any angle when it is rendered.

    Attributes:
      row: 0 top, 1 middle, 2 bottom.
      column: 0 left, 1 middle, 2 right.
    """

    shape: str
    colour: str
    size: str
    row: int
    column: int

    @property
    def class_name(self) -> str:
        """Such as `red_star`; one of CLASSES."""
        return f"{self.colour}_{self.shape}"


@dataclass(frozen=True)
class Scene:
    """One to three things in reading order, which never overlap.

    Two things are at the two ends of a row or column; three things, all small, fill a row or column.
    """

    things: tuple[Thing, ...]
    background: str

    @property
    def relation(self) -> str:
        """The arrangement of the things: "alone", "beside" (in a row) or "above" (in a column, from the top)."""
        if len(self.things) == 1:
            return "alone"
        return "beside" if self.things[0].row == self.things[1].row else "above"


def sample_scene(rng: random.Random, count: int = 1) -> Scene:
    """Samples a scene of `count` things (1 to 3); a quarter of the larger scenes repeats one class."""
    classes = [(rng.choice(COLOURS), rng.choice(SHAPES)) for _ in range(count)]
    if rng.random() < 0.25:
        classes = classes[:1] * count
    same = len(set(classes)) == 1
    size = rng.choice(SIZES)
    things = []
    for (colour, shape), (row, column) in zip(classes, _sample_places(rng, count), strict=True):
        own_size = "small" if count == 3 else size if same else rng.choice(SIZES)
        things.append(Thing(shape, colour, own_size, row, column))
    return Scene(tuple(things), rng.choice(BACKGROUNDS))


def arrangement(scene: Scene) -> tuple[list[tuple[str, str, int, int]], str]:
    """Returns what decides the split of a scene: its things, and the background if it is a single thing."""
    things = [(t.class_name, t.size, t.row, t.column) for t in scene.things]
    return things, scene.background if len(things) == 1 else ""


def split_of(scene: Scene) -> str:
    """Returns the split, "train" or "dev", of an arrangement."""
    return split_of_key(arrangement(scene))


def split_of_key(key: object) -> str:
    """Assigns an object with a stable `repr` to "train" or "dev" (one in ten)."""
    # crc32 mixes too little if keys differ by one letter; the multiplication spreads its bits.
    mixed = zlib.crc32(repr(key).encode()) * 0x9E3779B97F4A7C15 % 2**64 >> 40
    return "dev" if mixed % 100 < _DEV_PERCENT else "train"


def sample_scenes(split: str, seed: str, counts: tuple[int, ...]) -> Iterator[Scene]:
    """Yields scenes of a split endlessly, each with a number of things sampled from `counts`.

    "test" has the arrangements of "dev", drawn in another order: the problems leave out those that their dev split has.
    """
    rng = random.Random(f"{seed} {split}")  # a string seeds the same in every process
    held_out = split != "train"
    while True:
        scene = sample_scene(rng, rng.choice(counts))
        if (split_of(scene) == "dev") == held_out:
            yield scene


def _sample_places(rng: random.Random, count: int) -> list[tuple[int, int]]:
    if count == 1:
        return [(rng.randrange(3), rng.randrange(3))]
    line, steps = rng.randrange(3), (0, 2) if count == 2 else (0, 1, 2)
    return [(line, step) for step in steps] if rng.random() < 0.5 else [(step, line) for step in steps]
