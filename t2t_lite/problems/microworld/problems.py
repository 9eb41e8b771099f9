"""The eight microworld problems, and their mixture."""

import functools
import itertools
import random
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from t2t_lite import registry
from t2t_lite.problems import Audio, Image, Label, Mixture, Problem, Text, trees
from t2t_lite.problems.microworld import english, grammar
from t2t_lite.problems.microworld.captions import caption
from t2t_lite.problems.microworld.questions import ask
from t2t_lite.problems.microworld.scene import CLASSES, Scene, arrangement, sample_scenes

_VOCAB_SIZE = 2048  # nearly every word form of the three languages is one piece
_LONGEST_SPOKEN = 10  # words; spoken in one to four seconds


def _text() -> Text:
    return Text(vocab="microworld", vocab_size=_VOCAB_SIZE, max_length=128)


class _Microworld(Problem):
    """Generated examples, which depend on the problem's name and the split only.

    The scenes and sentences of dev and test do not occur in training, and those of dev not in test.
    """

    splits = ("train", "dev", "test")
    counts: ClassVar[dict[str, int]] = {"train": 20_000, "dev": 400, "test": 400}

    def items(self, split: str) -> Iterator[Any]:
        """Yields items endlessly; those of "test" may be in the dev split too."""
        raise NotImplementedError

    def meaning(self, item: Any) -> Hashable:
        """Returns what dev and test may not have in common: the English sentence or the scene."""
        raise NotImplementedError

    def examples(self, split: str, raw_dir: Path) -> Iterator[Any]:
        """Yields the split's items."""
        items = self.items(split)
        if split == "test":
            in_dev = {self.meaning(item) for item in self.examples("dev", raw_dir)}
            items = (item for item in items if self.meaning(item) not in in_dev)
        return itertools.islice(items, self.counts[split])


class _Translation(_Microworld):
    """Translation of generated sentences."""

    inputs = _text()
    targets = _text()
    metrics = ("bleu", "chrf")
    languages: tuple[str, str]

    def items(self, split: str) -> Iterator[dict[str, str]]:
        """Yields pairs of sentences; the English ones do not depend on the other language and the direction."""
        source, target = self.languages
        for sentence, text in grammar.sample_sentences(split, "microworld translation"):
            texts = {lang: text if lang == "en" else grammar.say(sentence, lang) for lang in self.languages}
            yield {"inputs": texts[source], "targets": texts[target]}

    def meaning(self, item: dict[str, str]) -> str:
        """Returns the English sentence."""
        return item["inputs" if self.languages[0] == "en" else "targets"]


@registry.problems.register(name="microworld_ende")
class MicroworldEnde(_Translation):
    """English to German, of a generated world of shapes, things, animals and people."""

    languages = ("en", "de")
    command = "to_german"


@registry.problems.register(name="microworld_ende_rev")
class MicroworldEndeRev(_Translation):
    """German to English, of a generated world of shapes, things, animals and people."""

    languages = ("de", "en")
    command = "to_english"


@registry.problems.register(name="microworld_enfr")
class MicroworldEnfr(_Translation):
    """English to French, of a generated world of shapes, things, animals and people."""

    languages = ("en", "fr")
    command = "to_french"


@registry.problems.register(name="microworld_enfr_rev")
class MicroworldEnfrRev(_Translation):
    """French to English, of a generated world of shapes, things, animals and people."""

    languages = ("fr", "en")
    command = "to_english"


@registry.problems.register
class MicroworldParsing(_Microworld):
    """An English sentence to its constituency tree in linear form."""

    inputs = _text()
    targets = Text(vocab="microworld", vocab_size=_VOCAB_SIZE, symbols=trees.BRACKETS, max_length=128)
    command = "to_parse_tree"
    metrics = ("tree",)

    def items(self, split: str) -> Iterator[dict[str, str]]:
        """Yields sentences and trees."""
        for sentence, text in grammar.sample_sentences(split, "microworld parsing"):
            yield {"inputs": text, "targets": trees.linearise(english.say(sentence))}

    def meaning(self, item: dict[str, str]) -> str:
        """Returns the sentence."""
        return item["inputs"]


@registry.problems.register
class MicroworldParsingSmall(MicroworldParsing):
    """The first 500 sentences and trees of microworld_parsing, with its dev and test splits. Not one of the eight."""

    counts: ClassVar[dict[str, int]] = MicroworldParsing.counts | {"train": 500}


@registry.problems.register
class MicroworldSpeech(_Microworld):
    """A spoken English sentence to its words, in lower case and without punctuation."""

    inputs = Audio(sample_rate=8000, max_seconds=6.0)
    targets = _text()
    command = "to_english"
    metrics = ("wer", "cer")
    counts: ClassVar[dict[str, int]] = {"train": 8_000, "dev": 200, "test": 200}

    def items(self, split: str) -> Iterator[tuple[str, int]]:
        """Yields the spoken text, and the seed of the voice."""
        rng = random.Random(f"microworld voice {split}")
        for _, text in grammar.sample_sentences(split, "microworld speech"):
            words = [word.lower() for word in trees.split_words(text) if word[0].isalpha()]
            if len(words) <= _LONGEST_SPOKEN:
                yield " ".join(words), rng.getrandbits(32)

    def meaning(self, item: tuple[str, int]) -> str:
        """Returns the spoken text."""
        return item[0]

    def convert(self, item: tuple[str, int]) -> dict[str, Any]:
        """Replaces the text by a function that synthesises the speech."""
        import numpy as np

        from t2t_lite.problems.microworld import voice

        sentence, seed = item
        sound = functools.partial(voice.speak, sentence, np.random.default_rng(seed))
        return {"inputs": sound, "targets": sentence}


class _Pictures(_Microworld):
    """Pictures of generated scenes."""

    inputs = Image(rows=32, columns=32)
    things: tuple[int, ...]

    def items(self, split: str) -> Iterator[tuple[Scene, int]]:
        """Yields scenes, each with the seed of its rendering."""
        rng = random.Random(f"{self.name} look {split}")
        for scene in sample_scenes(split, self.name, self.things):
            yield scene, rng.getrandbits(32)

    def meaning(self, item: tuple[Scene, int]) -> str:
        """Returns the arrangement."""
        return repr(arrangement(item[0]))

    def answer(self, scene: Scene) -> str:
        """Returns the target."""
        raise NotImplementedError

    def convert(self, item: tuple[Scene, int]) -> dict[str, Any]:
        """Replaces the scene by a function that renders it."""
        import numpy as np

        from t2t_lite.problems.microworld import pictures

        scene, seed = item
        picture = functools.partial(pictures.draw, scene, np.random.default_rng(seed))
        return {"inputs": picture, "targets": self.answer(scene)}


@registry.problems.register
class MicroworldImage(_Pictures):
    """A picture of one shape to its class: eight colours of eight shapes."""

    targets = Label(classes=CLASSES)
    command = "to_class"
    counts: ClassVar[dict[str, int]] = {"train": 30_000, "dev": 400, "test": 400}
    things = (1,)

    def answer(self, scene: Scene) -> str:
        """Returns the class, such as `red_star`."""
        return scene.things[0].class_name


@registry.problems.register
class MicroworldCaption(_Pictures):
    """A picture of one to three shapes to an English sentence that describes it."""

    targets = _text()
    command = "to_english"
    metrics = ("bleu", "cider_d")
    things = (1, 2, 2, 3)

    def answer(self, scene: Scene) -> str:
        """Returns the caption."""
        return caption(scene)


@registry.problems.register
class MicroworldQuestion(_Pictures):
    """A picture of one to three shapes and a question about it, to the answer: two inputs. Not one of the eight."""

    inputs = (Image(rows=32, columns=32), _text())  # type: ignore[assignment]
    targets = _text()
    command = "answer"
    metrics = ("wer",)
    things = (1, 2, 2, 3)

    def convert(self, item: tuple[Scene, int]) -> dict[str, Any]:
        """Adds a question, which the seed of the rendering draws, to the picture."""
        scene, seed = item
        question, answer = ask(scene, random.Random(seed))
        return {"inputs": (super().convert(item)["inputs"], question), "targets": answer}

    def answer(self, scene: Scene) -> str:
        """The answer depends on the question."""
        return ""


registry.mixtures.register(
    Mixture(
        {
            "microworld_speech": 7,
            "microworld_image": 20,
            "microworld_caption": 3,
            "microworld_parsing": 1.75,
            "microworld_ende": 1.1,
            "microworld_ende_rev": 0.5,
            "microworld_enfr": 1.1,
            "microworld_enfr_rev": 0.65,
        },
        "The paper's eight kinds of problem on generated data; nothing to download.",
    ),
    name="microworld",
)
