"""The microworld's sentence patterns: draws meanings, and says each in English, German or French."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from t2t_lite.problems.microworld import english, french, german
from t2t_lite.problems.microworld.lexicon import (
    ADJECTIVES,
    COUNTS,
    DEGREES,
    FREQUENCIES,
    NAMES,
    PRONOUNS,
    VERBS,
    of_kind,
)
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property, Sentence
from t2t_lite.problems.microworld.scene import split_of_key

THINGS = of_kind("shape", "object")
LIVING = of_kind("animal", "person")
_COMPARED = tuple(word for word in of_kind("size", "quality", "texture") if word not in ("new", "wet"))
_DEFINITE = ("the", "the", "the", "this", "my")
_SINGULAR = ("a", "a", "a", *_DEFINITE)
_PLURAL = ("the", "the", "this", "my", "some", "many", *COUNTS)
_COUNTED = ("some", "many", *COUNTS)
_BESIDE = ("behind", "in front of", "next to", "near")
_LANDMARKS = (
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
_GROUNDS = {  # what an action can happen in, on, under or beside
    "in": ("house", "car", "boat", "garden", "kitchen", "forest", "room", "church", "school", "hotel"),
    "under": ("table", "tree", "window"),
} | dict.fromkeys(_BESIDE, _LANDMARKS)
_STANDS = _GROUNDS | {  # where a thing can be
    "in": ("box", "bag", "house", "car", "boat", "cup", "garden", "kitchen", "forest", "room"),
    "on": ("table", "chair", "book", "box", "plate", "boat"),
    "under": ("table", "chair", "tree", "box", "hat"),
}
_DRAWABLE = of_kind("shape", "animal", "object")
_SLOT = {"size": 0, "quality": 0, "age": 0, "colour": 1, "texture": 1, "state": 1}  # of an adjective, by its kind
_TIMES = {
    "present": ("today", "now", "every day"),
    "past": ("yesterday", "on Monday", "on Friday", "on Sunday"),
    "future": ("tomorrow", "on Monday", "on Friday", "on Sunday"),
}


class Drawer:
    """Draws the parts of a meaning from a source of chance."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.choose: Callable = rng.choice

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.rng.random() < probability

    def noun_phrase(self, nouns: tuple[str, ...], singular=_SINGULAR, plural=_PLURAL, plain=False) -> NounPhrase:
        """A noun with one of these determiners (no plural where there are none); `plain` has at most one adjective."""
        noun = self.choose(nouns)
        many = bool(plural) and (not singular or self.chance(0.3))
        return NounPhrase(noun, self.choose(plural if many else singular), many, self.adjectives(noun, plain))

    def adjectives(self, noun: str, plain: bool = False) -> tuple[str, ...]:
        """None, one or two adjectives that suit a noun, in the order in which English says them."""
        kinds = {"shape": "size colour", "object": "size,quality colour,texture", "animal": "size,age colour,state"}
        kinds |= {"person": "age,quality state"}
        for kind, slots in kinds.items():
            if noun in of_kind(kind):
                drawn = [self.choose(of_kind(*slot.split(","))) for slot in slots.split() if self.chance(0.45)]
                if kind == "person":
                    drawn = [word for word in drawn if word != "new"]
                return tuple(drawn[:1] if plain else drawn)
        return ()

    def thing(self, **how) -> NounPhrase:
        """A shape or an object."""
        return self.noun_phrase(THINGS, **how)

    def definite(self, nouns: tuple[str, ...] = THINGS, **how) -> NounPhrase:
        """A noun phrase with "the", "this" or "my"."""
        return self.noun_phrase(nouns, _DEFINITE, _DEFINITE, **how)

    def someone(self, pronouns: bool = True) -> NounPhrase:
        """A name, a pronoun, a person or an animal, as a subject."""
        kind = self.rng.random()
        if kind < 0.3:
            return NounPhrase(self.choose(tuple(NAMES)))
        if kind < 0.42 and pronouns:
            noun = self.choose(tuple(PRONOUNS))
            return NounPhrase(noun, plural=noun == "they")
        if kind < 0.47:
            return self.noun_phrase(LIVING, ("every",), (), plain=True)
        return self.noun_phrase(LIVING)

    def place(self, places: dict[str, tuple[str, ...]] = _GROUNDS) -> PlacePhrase:
        """A preposition and what suits it."""
        preposition = self.choose(tuple(places))
        return PlacePhrase(
            preposition, self.noun_phrase(places[preposition], ("the", "the", "a", "my"), (), plain=True)
        )

    def beside(self) -> PlacePhrase:
        """A place relative to another thing."""
        preposition = self.choose(("above", "to the left of", "to the right of", "next to", "between"))
        second = self.thing(plural=(), plain=True) if preposition == "between" else None
        return PlacePhrase(preposition, self.thing(plural=(), plain=second is not None), second)

    def property(self, subject: NounPhrase) -> Property:
        """What can be said of a subject: one adjective, perhaps with its degree, or two."""
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
        """More than, or as much as, something else."""
        than = self.thing(singular=("a", "the", "the", "my"), plural=())
        kinds = of_kind("size") if subject.noun in of_kind("shape") or than.noun in of_kind("shape") else _COMPARED
        return Property(self.choose(kinds), than=than, equal=self.chance(0.4))

    def act(self, subject: NounPhrase | None, tense: str = "present") -> Clause:
        """Somebody does something: with an object, or alone at a place."""
        return self.handle(subject, tense) if self.chance(0.55) else self.act_alone(subject, tense)

    def act_alone(self, subject: NounPhrase | None, tense: str = "present") -> Clause:
        """Somebody does something without an object, perhaps at a place."""
        place = self.place() if self.chance(0.6) else None
        return Clause(self.choose(of_kind("intransitive")), subject, place=place, tense=tense)

    def handle(self, subject: NounPhrase | None, tense: str = "present", definite: bool = False) -> Clause:
        """Somebody does something with an object."""
        verb = self.choose(of_kind("transitive"))
        nouns = (
            (*_DRAWABLE, *LIVING) if verb in ("see", "paint", "draw", "love", "find") else of_kind("object", "shape")
        )
        return Clause(verb, subject, object=self.definite(nouns) if definite else self.noun_phrase(nouns), tense=tense)

    def person(self, pronouns: bool = False) -> NounPhrase:
        """A name or a person, without adornment."""
        if self.chance(0.4):
            return NounPhrase(self.choose(tuple(NAMES)))
        if pronouns and self.chance(0.3):
            return NounPhrase(self.choose(("he", "she")))
        return self.noun_phrase(of_kind("person"), ("the", "the", "a", "my"), (), plain=True)


def _describe(d: Drawer) -> Sentence:
    nouns = of_kind("shape", "object", "object", "place", "destination")
    subject = d.definite(nouns) if d.chance(0.65) else d.someone()
    said = d.property(subject)
    clause = Clause("be", _unlike(subject, said), property=said, tense=d.choose(("present", "present", "past")))
    if said.degree or said.second:
        return Sentence("describe", "statement", clause)
    return Sentence("describe", "statement", replace(clause, negated=d.chance(0.4)))


def _unlike(subject: NounPhrase, said: Property) -> NounPhrase:
    """The subject without adjectives that would contradict or repeat what is said of it."""
    slots = [_SLOT[ADJECTIVES[word].kind] for word in (said.adjective, said.second) if word]
    return replace(subject, adjectives=tuple(a for a in subject.adjectives if _SLOT[ADJECTIVES[a].kind] not in slots))


def _compare(d: Drawer) -> Sentence:
    subject = d.definite()
    said = d.comparison(subject)
    clause = Clause("be", _unlike(subject, said), property=said, negated=d.chance(0.2))
    return Sentence("compare", "statement", clause)


def _position(d: Drawer) -> Sentence:
    subject = d.definite((*THINGS, *of_kind("animal"))) if d.chance(0.7) else d.thing(plural=_COUNTED)
    tense = d.choose(("present", "present", "past", "future"))
    clause = Clause("be", subject, place=d.place(_STANDS), tense=tense)
    if subject.determiner in _DEFINITE and tense != "future":
        kind = d.choose(("plain", "negated", "frequency"))
        clause = replace(
            clause, negated=kind == "negated", frequency=d.choose(tuple(FREQUENCIES)) if kind == "frequency" else ""
        )
    return Sentence("position", "statement", clause)


def _beside(d: Drawer) -> Sentence:
    return Sentence("beside", "statement", Clause("be", d.thing(plural=_COUNTED), place=d.beside()))


def _exist(d: Drawer) -> Sentence:
    if d.chance(0.2):
        there = d.thing(singular=("no",), plural=())
    else:
        there = d.noun_phrase((*THINGS, *LIVING), ("a",), _COUNTED)
    if there.noun in LIVING and there.determiner != "no" and d.chance(0.6):
        there = replace(there, adjectives=there.adjectives[:1], modifier=_with(d))
    kind = "question" if there.determiner == "a" and d.chance(0.2) else "statement"
    return Sentence("exist", kind, Clause("exist", object=there, place=d.place(_STANDS)))


def _with(d: Drawer) -> PlacePhrase:
    carried = ("hat", "bag", "box", "bottle", "flower", "ball", "book", "key", "picture", "apple")
    return PlacePhrase("with", d.noun_phrase(carried, ("a", "the"), ("two", "three"), plain=True))


def _how_many(d: Drawer) -> Sentence:
    counted = d.noun_phrase((*THINGS, *LIVING), (), ("how many",), plain=True)
    return Sentence("how many", "how many", Clause("exist", object=counted, place=d.place(_STANDS)))


def _where(d: Drawer) -> Sentence:
    tense = d.choose(("present", "present", "past"))
    return Sentence("where", "where", Clause("be", d.definite((*THINGS, *LIVING)), tense=tense))


def _is_it(d: Drawer) -> Sentence:
    subject = d.definite()
    if d.chance(0.4):
        return Sentence("is it", "question", Clause("be", subject, place=d.place(_STANDS)))
    said = d.property(subject) if d.chance(0.3) else d.comparison(subject)
    return Sentence("is it", "question", Clause("be", _unlike(subject, said), property=said))


def _does(d: Drawer) -> Sentence:
    clause = d.act(d.someone(), d.choose(("present", "past", "future")))
    if d.chance(0.2):
        clause = replace(d.handle(d.someone()), modal=d.choose(("can", "must")))
    return Sentence("does", "question", clause)


def _who(d: Drawer) -> Sentence:
    return Sentence("who", "who", d.act(None, d.choose(("present", "past", "future"))))


def _what(d: Drawer) -> Sentence:
    clause = d.handle(d.someone(), d.choose(("present", "past", "future")))
    return Sentence("what", "what", replace(clause, object=None, place=d.place() if d.chance(0.4) else None))


def _act(d: Drawer) -> Sentence:
    tense = d.choose(("present", "past", "future"))
    clause = d.act(d.someone(), tense)
    return Sentence("act", "statement", replace(clause, time=d.choose(_TIMES[tense])) if d.chance(0.6) else clause)


def _not_act(d: Drawer) -> Sentence:
    subject = d.definite(LIVING) if d.chance(0.4) else NounPhrase(d.choose((*NAMES, "he", "she")))
    clause = d.handle(subject, d.choose(("present", "past")), definite=True)
    return Sentence("not act", "statement", replace(clause, negated=True))


def _habit(d: Drawer) -> Sentence:
    subject, tense = d.someone(), d.choose(("present", "present", "past"))
    if subject.determiner == "every" or d.chance(0.67):
        clause = replace(d.act(subject, tense), frequency=d.choose(("often", "always")))
    else:  # "never" takes no indefinite object: French would change its article
        clause = d.handle(subject, tense, definite=True) if d.chance(0.5) else d.act_alone(subject, tense)
        clause = replace(clause, frequency="never")
    return Sentence("habit", "statement", clause)


def _go(d: Drawer) -> Sentence:
    tense = d.choose(("present", "past", "future"))
    subject = d.someone()
    if subject.noun in LIVING and subject.determiner != "every" and d.chance(0.4):
        subject = replace(subject, adjectives=subject.adjectives[:1], modifier=_with(d))
    place = PlacePhrase("to", d.noun_phrase((*of_kind("destination"), "garden", "forest"), ("the",), (), plain=True))
    return Sentence(
        "go", "statement", Clause("go", subject, place=place, tense=tense, time=d.choose(("", *_TIMES[tense])))
    )


def _give(d: Drawer) -> Sentence:
    tense = d.choose(("present", "past", "future"))
    given = d.noun_phrase(of_kind("object"), plural=("the", "two", "three"))
    verb, recipient = d.choose(of_kind("giving")), d.person()
    if d.chance(0.25):
        return Sentence("give", "order", Clause(verb, object=given, recipient=recipient))
    return Sentence("give", "statement", Clause(verb, d.someone(), object=given, recipient=recipient, tense=tense))


def _two_objects(d: Drawer) -> Sentence:
    clause = d.handle(d.someone(), d.choose(("present", "past", "future")))
    first = d.thing(singular=("a",), plural=tuple(COUNTS))
    return Sentence(
        "two objects",
        "statement",
        replace(clause, object=first, second_object=d.thing(singular=("a",), plural=tuple(COUNTS))),
    )


def _modal(d: Drawer) -> Sentence:
    modal = d.choose(("can", "must", "want"))
    negated = modal == "want" and d.chance(0.4)
    clause = d.handle(d.someone(), definite=negated)
    return Sentence("modal", "statement", replace(clause, modal=modal, negated=negated))


def _think(d: Drawer) -> Sentence:
    subject = d.definite(plain=True)
    said = d.property(subject)
    contents = (
        Clause("be", _unlike(subject, said), property=said),
        Clause("be", subject, place=d.place(_STANDS)),
        d.act(d.person(pronouns=True), d.choose(("present", "past"))),
        Clause("exist", object=d.thing(singular=("a",), plural=tuple(COUNTS)), place=d.place(_STANDS)),
    )
    return Sentence("think", "statement", Clause(d.choose(of_kind("clausal")), d.someone(), content=d.choose(contents)))


def _because(d: Drawer) -> Sentence:
    conjunction = d.choose(("because", "when", "while"))
    tense = "past" if conjunction == "because" and d.chance(0.4) else "present"
    first = Clause(d.choose(of_kind("intransitive")), d.someone(), tense=tense)
    return Sentence("because", "statement", first, conjunction, d.act(d.person(pronouns=True), tense))


def _and(d: Drawer) -> Sentence:
    conjunction = d.choose(("and", "but"))
    first = Clause(d.choose(of_kind("intransitive")), d.someone(), place=d.place() if d.chance(0.3) else None)
    return Sentence("and", "statement", first, conjunction, d.act(d.person(pronouns=True)))


def _who_does(d: Drawer) -> Sentence:
    head = d.noun_phrase(of_kind("person"), ("the", "a"), ("the", "two", "many"), plain=True)
    inside = d.handle(None, d.choose(("present", "past")))
    inside = replace(inside, object=replace(inside.object, adjectives=inside.object.adjectives[:1]))
    head = replace(head, modifier=inside)
    said = d.property(head)
    outer = d.act(head) if d.chance(0.5) else Clause("be", _unlike(head, said), property=said)
    return Sentence("who does", "statement", outer)


def _that_is(d: Drawer) -> Sentence:
    head = d.noun_phrase(THINGS, ("the",), ("the",), plain=True)
    subject = d.person(pronouns=True)
    inside = Clause("be", place=d.place(_STANDS))
    if d.chance(0.6):
        inside = Clause(d.choose(of_kind("transitive")), subject)
    said = d.property(head)
    outer = Clause("be", replace(_unlike(head, said), modifier=inside), property=said)
    if d.chance(0.4):
        verb = d.choose(tuple(verb for verb in of_kind("transitive") if not VERBS[verb].german_particle))
        outer = Clause(verb, d.person(pronouns=True), object=outer.subject)
    return Sentence("that is", "statement", outer)


def _order(d: Drawer) -> Sentence:
    negated = d.chance(0.3)
    verbs = tuple(verb for verb in of_kind("transitive") if verb not in ("see", "love"))
    verb = d.choose(verbs)
    shown = d.noun_phrase(_DRAWABLE if verb in ("paint", "draw") else THINGS)
    return Sentence("order", "order", Clause(verb, object=d.definite() if negated else shown, negated=negated))


PATTERNS: dict[Callable[[Drawer], Sentence], int] = {  # how often each is drawn
    _describe: 8, _compare: 7, _position: 8, _beside: 7, _exist: 8, _how_many: 4, _where: 2, _is_it: 5, _does: 5,
    _who: 3, _what: 3, _act: 9, _not_act: 4, _habit: 5, _go: 6, _give: 6, _two_objects: 4, _modal: 5, _think: 6,
    _because: 6, _and: 5, _who_does: 6, _that_is: 6, _order: 4,
}  # fmt: skip
_SAY: dict[str, Callable[[Sentence], str]] = {"de": german.say, "fr": french.say}


def say(sentence: Sentence, language: str) -> str:
    """The sentence in "en", "de" or "fr"."""
    return english.text(english.say(sentence)) if language == "en" else _SAY[language](sentence)


def sample_sentence(rng: random.Random) -> Sentence:
    """Draws a meaning."""
    return rng.choices(list(PATTERNS), list(PATTERNS.values()))[0](Drawer(rng))


def sample_sentences(split: str, seed: str) -> Iterator[tuple[Sentence, str]]:
    """Yields meanings of a split without end, each once, with the English sentence that decides on its split."""
    rng = random.Random(f"{seed} {split}")  # a string seeds alike in every process
    seen = set()
    while True:
        sentence = sample_sentence(rng)
        text = say(sentence, "en")
        if text not in seen and split_of_key(text) == split:
            seen.add(text)
            yield sentence, text
