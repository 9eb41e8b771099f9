"""One problem of each kind, small enough to learn within a test, and hparams to match."""

import random

import numpy as np

from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.problems import Audio, Image, Label, Mixture, Problem, Text

_TEXT = Text(vocab="session", vocab_size=280, max_length=8)
_COLOURS = {"blue": (30, 30, 220), "red": (220, 30, 30)}
_PITCHES = {"low": 300, "high": 1500}


def _draw(split, number):
    return random.Random(f"{split} {number}")


class _Session(Problem):
    def examples(self, split, raw_dir):
        return iter(range(600 if split == "train" else 20))


@registry.problems.register
class SessionReverse(_Session):
    """Letters in reverse order."""

    inputs = targets = _TEXT
    command = "reverse"
    metrics = ("wer",)

    def examples(self, split, raw_dir):
        for number in super().examples(split, raw_dir):
            letters = _draw(split, number).choices("abcd", k=3)
            yield {"inputs": " ".join(letters), "targets": " ".join(reversed(letters))}


@registry.problems.register
class SessionPictures(_Session):
    """Noisy pictures of one colour to its name."""

    random_flip = True

    inputs = Image(rows=8, columns=8)
    targets = Label(classes=tuple(_COLOURS))

    def examples(self, split, raw_dir):
        for number in super().examples(split, raw_dir):
            colour = _draw(split, number).choice(list(_COLOURS))
            yield {"inputs": picture(colour, number), "targets": colour}


@registry.problems.register
class SessionTones(_Session):
    """Tones to their names."""

    inputs = Audio(sample_rate=8000, max_seconds=0.2)
    targets = _TEXT
    command = "tones"

    def examples(self, split, raw_dir):
        for number in super().examples(split, raw_dir):
            names = _draw(split, number).choices(list(_PITCHES), k=2)
            yield {"inputs": tones(names), "targets": " ".join(names)}


registry.mixtures.register(
    Mixture({"session_reverse": 1, "session_pictures": 1, "session_tones": 1}, "All session problems."), name="session"
)


@registry.hparams_sets.register
def session_tiny() -> HParams:
    """A network that is traced in seconds."""
    return multimodel_tiny().replace(
        hidden_size=32,
        filter_size=32,
        num_heads=2,
        encoder_blocks=1,
        decoder_blocks=1,
        num_experts=2,
        image_width=4,
        audio_blocks=1,
        audio_width=2,
        audio_mels=8,
        categorical_width=12,
        batch_tokens=128,
        warmup_steps=10,
        schedule="constant",
        learning_rate=4e-3,
        dropout=0.0,
    )


def picture(colour, seed=0):
    """uint8 (8, 8, 3)"""
    noise = np.random.default_rng(seed).integers(-30, 30, (8, 8, 3))
    return (np.array(_COLOURS[colour]) + noise).astype(np.uint8)


def tones(names):
    """float (1600,): a tenth of a second each, at 8 kHz."""
    time = np.arange(800) / 8000
    return np.concatenate([0.5 * np.sin(2 * np.pi * _PITCHES[name] * time) for name in names])
