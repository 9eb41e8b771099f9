"""Samples the parts of a sentence's meaning: noun phrases, places, properties, actions."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from t2t_lite.problems.microworld.lexicon import (
    ADJECTIVES,
    COUNTS,
    DEGREES,
    NAMES,
    NOUNS,
    PRONOUNS,
    SINGULAR_KINDS,
    of_kind,
)
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property

THINGS = of_kind("shape", "object")
LIVING = of_kind("animal", "person")
COMPARED = tuple(word for word in of_kind("size", "quality", "texture") if word not in ("new", "wet"))
DEFINITE = ("the", "the", "the", "this", "my")
SINGULAR = ("a", "a", "a", *DEFINITE)
PLURAL = ("the", "the", "this", "my", "some", "many", *COUNTS)
COUNTED = ("some", "many", *COUNTS)
BESIDE = ("behind", "in front of", "next to", "near")
LANDMARKS = (
    "house",
    "tree",
    "door",
    "window",
    "car",
    "table",
    "church",
    "school",
    "hotel",
    "station",
    "market",
    "lake",
)
GROUNDS = {  # nouns by preposition: the places where an action can happen
    "in": ("house", "car", "boat", "garden", "kitchen", "forest", "room", "church", "school", "hotel"),
    "under": ("table", "tree", "window"),
} | dict.fromkeys(BESIDE, LANDMARKS)
STANDS = GROUNDS | {  # nouns by preposition: the places where a thing can be
    "in": ("box", "bag", "house", "car", "boat", "cup", "garden", "kitchen", "forest", "room"),
    "on": ("table", "chair", "book", "box", "plate", "boat"),
    "under": ("table", "chair", "tree", "box", "hat"),
}
DRAWABLE = of_kind("shape", "animal", "object")
SLOT = {
    "size": 0,
    "quality": 0,
    "age": 0,
    "colour": 1,
    "texture": 1,
    "state": 1,
}  # the place of an adjective before its noun, by its kind
CARRIED = ("hat", "bag", "box", "bottle", "flower", "ball", "book", "key", "picture", "apple")
TIMES = {
    "present": ("today", "now", "every day"),
    "past": ("yesterday", "on Monday", "on Friday", "on Sunday"),
    "future": ("tomorrow", "on Monday", "on Friday", "on Sunday"),
}


class MeaningSampler:
    """Samples the parts of a meaning from a random number generator."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.choose: Callable = rng.choice

    def chance(self, probability: float) -> bool:
        """Returns True with the given probability."""
        return self.rng.random() < probability

    def noun_phrase(
        self,
        nouns: tuple[str, ...],
        singular: tuple[str, ...] = SINGULAR,
        plural: tuple[str, ...] = PLURAL,
        plain: bool = False,
    ) -> NounPhrase:
        """Samples a noun phrase.

        Args:
          nouns: the nouns to choose from.
          singular: the determiners of a singular.
          plural: the determiners of a plural; without any, the noun is singular.
          plain: at most one adjective.
        """
        noun = self.choose(nouns)
        fixed = NOUNS[noun].kind in SINGULAR_KINDS
        many = bool(plural) and not fixed and (not singular or self.chance(0.4))
        return NounPhrase(noun, self.choose(plural if many else singular), many, self.adjectives(noun, plain))

    def adjectives(self, noun: str, plain: bool = False) -> tuple[str, ...]:
        """Samples zero to two adjectives that suit a noun, in English word order."""
        kinds = {"shape": "size colour", "object": "size,quality colour,texture", "animal": "size,age colour,state"}
        kinds |= {"person": "age,quality state"}
        for kind, slots in kinds.items():
            if noun in of_kind(kind):
                drawn = [self.choose(of_kind(*slot.split(","))) for slot in slots.split() if self.chance(0.55)]
                if kind == "person":
                    drawn = [word for word in drawn if word != "new"]
                return tuple(drawn[:1] if plain else drawn)
        return ()

    def thing(self, **how: Any) -> NounPhrase:
        """Samples a shape or an object."""
        return self.noun_phrase(THINGS, **how)

    def definite(self, nouns: tuple[str, ...] = THINGS, **how: Any) -> NounPhrase:
        """Samples a noun phrase with "the", "this" or "my"."""
        return self.noun_phrase(nouns, DEFINITE, DEFINITE, **how)

    def someone(self, pronouns: bool = True) -> NounPhrase:
        """Samples a subject: a name, a pronoun, a person or an animal."""
        kind = self.rng.random()
        if kind < 0.3:
            return NounPhrase(self.choose(tuple(NAMES)))
        if kind < 0.42 and pronouns:
            noun = self.choose(tuple(PRONOUNS))
            return NounPhrase(noun, plural=noun == "they")
        if kind < 0.47:
            return self.noun_phrase(LIVING, ("every",), (), plain=True)
        return self.noun_phrase(LIVING)

    def place(self, places: dict[str, tuple[str, ...]] = GROUNDS) -> PlacePhrase:
        """Samples a preposition and a noun phrase that suits it."""
        preposition = self.choose(tuple(places))
        return PlacePhrase(
            preposition, self.noun_phrase(places[preposition], ("the", "the", "a", "my"), (), plain=True)
        )

    def beside(self) -> PlacePhrase:
        """Samples a place relative to another thing."""
        preposition = self.choose(("above", "to the left of", "to the right of", "next to", "between"))
        second = self.thing(plural=(), plain=True) if preposition == "between" else None
        return PlacePhrase(preposition, self.thing(plural=(), plain=second is not None), second)

    def property(self, subject: NounPhrase) -> Property:
        """Samples a property of a subject: one adjective, perhaps with a degree, or two adjectives."""
        living = subject.noun in LIVING or subject.noun in NAMES or subject.noun in PRONOUNS
        if living:
            return Property(self.choose(of_kind("state")), self.choose(("", *DEGREES)))
        shape = subject.noun in of_kind("shape")
        other = self.choose(of_kind("size") if shape else ("small", "large", "old", "beautiful"))
        second = self.choose(of_kind("colour") if shape else of_kind("colour", "texture"))
        kind = self.rng.random()
        if kind < 0.3:
            return Property(other, second=second)
        return Property(other, self.choose(tuple(DEGREES))) if kind < 0.6 else Property(second)

    def comparison(self, subject: NounPhrase) -> Property:
        """Samples a comparison of the subject with something else: "larger than", "as large as"."""
        than = self.thing(singular=("a", "the", "the", "my"), plural=())
        shape = subject.noun in of_kind("shape") or than.noun in of_kind("shape")
        kinds = of_kind("size") if shape else COMPARED
        if subject.noun in LIVING:
            than = self.noun_phrase(LIVING, ("a", "the", "the", "my"), (), plain=True)
            kinds = ("small", "large", "old", "young")
        return Property(self.choose(kinds), than=than, equal=self.chance(0.4))

    def act(self, subject: NounPhrase | None, tense: str = "present") -> Clause:
        """Samples an action, with an object or without."""
        return self.handle(subject, tense) if self.chance(0.55) else self.act_alone(subject, tense)

    def act_alone(self, subject: NounPhrase | None, tense: str = "present") -> Clause:
        """Samples an action without an object, perhaps at a place."""
        place = self.place() if self.chance(0.6) else None
        return Clause(self.choose(of_kind("intransitive")), subject, place=place, tense=tense)

    def handle(self, subject: NounPhrase | None, tense: str = "present", definite: bool = False) -> Clause:
        """Samples an action with an object."""
        verb = self.choose(of_kind("transitive"))
        nouns = (*DRAWABLE, *LIVING) if verb in ("see", "paint", "draw", "love", "find") else of_kind("object", "shape")
        return Clause(verb, subject, object=self.definite(nouns) if definite else self.noun_phrase(nouns), tense=tense)

    def person(self, pronouns: bool = False, besides: NounPhrase | None = None) -> NounPhrase:
        """Samples a name or a person without adjectives, other than `besides`."""
        while True:
            drawn = self._person(pronouns)
            if besides is None or drawn.noun != besides.noun:
                return drawn

    def _person(self, pronouns: bool) -> NounPhrase:
        if self.chance(0.4):
            return NounPhrase(self.choose(tuple(NAMES)))
        if pronouns and self.chance(0.3):
            return NounPhrase(self.choose(("he", "she")))
        return self.noun_phrase(of_kind("person"), ("the", "the", "a", "my"), (), plain=True)

    def with_something(self) -> PlacePhrase:
        """Samples "with" and something that a person carries."""
        if self.chance(0.5):
            return PlacePhrase("with", self.noun_phrase(CARRIED, ("a", "the"), (), plain=True))
        return PlacePhrase("with", self.noun_phrase(CARRIED, (), ("two", "three"), plain=True))


def without_conflicts(subject: NounPhrase, property_: Property) -> NounPhrase:
    """Returns the subject without adjectives that would contradict or repeat the property."""
    slots = [SLOT[ADJECTIVES[word].kind] for word in (property_.adjective, property_.second) if word]
    return replace(subject, adjectives=tuple(a for a in subject.adjectives if SLOT[ADJECTIVES[a].kind] not in slots))
