"""Problems of a few generated examples, as a user would register them."""

import os
import random

import numpy as np

from t2t_lite import registry
from t2t_lite.problems import Audio, Image, Label, Problem, Text

WORDS = ["red", "green", "blue", "naïve", "日本", "x▁y", "don't", "42"]


def sentences(split, number, longest):
    rng = random.Random(f"{split} {number}")
    return [" ".join(rng.choices(WORDS, k=rng.randint(0, longest))) for _ in range(number)]


@registry.problems.register
class TinyReverse(Problem):
    """Reverses words."""

    inputs = Text(vocab="tiny", max_length=40)
    targets = Text(vocab="tiny", max_length=40)
    command = "reverse"

    def examples(self, split, raw_dir):
        for text in sentences(split, 400 if split == "train" else 90, 40):
            yield {"inputs": text, "targets": " ".join(reversed(text.split()))}


@registry.problems.register
class TinyPictures(Problem):
    """Pictures of two shapes to captions."""

    inputs = Image(rows=4, columns=6)
    targets = Text(vocab="tiny")

    def examples(self, split, raw_dir):
        rng = np.random.default_rng(len(split))
        for number, text in enumerate(sentences(split, 30, 8)):
            shape = (4, 6, 3) if number % 3 else (9, 5, 3)
            yield {"inputs": rng.integers(0, 256, shape, dtype=np.uint8), "targets": f"{text} seen"}


@registry.problems.register
class TinySounds(Problem):
    """Noises to classes, which datagen collects from the training split."""

    inputs = Audio(max_seconds=0.5)
    targets = Label()
    extra_class = ""

    def examples(self, split, raw_dir):
        rng = np.random.default_rng(len(split))
        for number in range(120 if split == "train" else 10):
            samples = rng.uniform(-1, 1, rng.integers(100, 9000))
            if number % 2:
                samples = (samples * 32767).astype(np.int16)
            yield samples, ["yes", "no", "go"][number % 3]
        if split == "dev" and self.extra_class:
            yield np.zeros(10), self.extra_class

    def convert(self, item):
        return {"inputs": item[0], "targets": item[1]}


@registry.problems.register
class TinyDeadly(TinyReverse):
    """Kills the worker process in convert()."""

    def convert(self, item):
        os._exit(3)
