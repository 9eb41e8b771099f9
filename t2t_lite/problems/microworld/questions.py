"""Questions about scenes and their answers, in English."""

import random
from collections import Counter

from t2t_lite.problems.microworld.scene import COLOURS, SHAPES, Scene

_NUMBERS = ("one", "two", "three")


def ask(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """Draws a question that the picture of the scene answers; returns question and answer."""
    shapes, colours = (Counter(getattr(thing, name) for thing in scene.things) for name in ("shape", "colour"))
    questions = [("How many shapes are there?", _NUMBERS[len(scene.things) - 1])]
    for thing in scene.things:
        if shapes[thing.shape] == 1:
            questions.append((f"What colour is the {thing.shape}?", thing.colour))
        if colours[thing.colour] == 1:
            questions.append((f"Which shape is {thing.colour}?", thing.shape))
    shape = rng.choice([rng.choice(SHAPES), rng.choice(scene.things).shape])
    questions.append((f"Is there a {shape}?", "yes" if shapes[shape] else "no"))
    colour = rng.choice([rng.choice(COLOURS), rng.choice(scene.things).colour])
    questions.append((f"Is anything {colour}?", "yes" if colours[colour] else "no"))
    return rng.choice(questions)
