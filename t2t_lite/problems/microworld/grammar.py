"""Sentence patterns: samples meanings, and turns each into English, German or French."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from t2t_lite.problems.microworld import english, french, german
from t2t_lite.problems.microworld.drawer import (
    COUNTED,
    DEFINITE,
    DRAWABLE,
    LIVING,
    STANDS,
    THINGS,
    TIMES,
    Drawer,
    unlike,
)
from t2t_lite.problems.microworld.lexicon import COUNTS, FREQUENCIES, NAMES, VERBS, of_kind
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Sentence
from t2t_lite.problems.microworld.scene import split_of_key


def _describe(d: Drawer) -> Sentence:
    nouns = of_kind("shape", "object", "object", "place", "destination")
    subject = d.definite(nouns) if d.chance(0.65) else d.someone()
    said = d.property(subject)
    clause = Clause("be", unlike(subject, said), property=said, tense=d.choose(("present", "present", "past")))
    if said.degree or said.second:
        return Sentence("describe", "statement", clause)
    return Sentence("describe", "statement", replace(clause, negated=d.chance(0.4)))


def _compare(d: Drawer) -> Sentence:
    subject = d.definite(LIVING if d.chance(0.35) else THINGS)
    said = d.comparison(subject)
    clause = Clause("be", unlike(subject, said), property=said, negated=d.chance(0.2))
    return Sentence("compare", "statement", clause)


def _position(d: Drawer) -> Sentence:
    subject = d.definite((*THINGS, *of_kind("animal"))) if d.chance(0.7) else d.thing(plural=COUNTED)
    tense = d.choose(("present", "present", "past", "future"))
    clause = Clause("be", subject, place=d.place(STANDS), tense=tense)
    if subject.determiner in DEFINITE and tense != "future":
        kind = d.choose(("plain", "negated", "frequency"))
        clause = replace(
            clause, negated=kind == "negated", frequency=d.choose(tuple(FREQUENCIES)) if kind == "frequency" else ""
        )
    return Sentence("position", "statement", clause)


def _beside(d: Drawer) -> Sentence:
    return Sentence("beside", "statement", Clause("be", d.thing(plural=COUNTED), place=d.beside()))


def _exist(d: Drawer) -> Sentence:
    if d.chance(0.2):
        there = d.thing(singular=("no",), plural=())
    else:
        there = d.noun_phrase((*THINGS, *LIVING), ("a",), COUNTED)
    if there.noun in LIVING and there.determiner != "no" and d.chance(0.7):
        there = replace(there, adjectives=there.adjectives[:1], modifier=d.with_something())
    kind = "question" if there.determiner == "a" and d.chance(0.2) else "statement"
    return Sentence("exist", kind, Clause("exist", object=there, place=d.place(STANDS)))


def _how_many(d: Drawer) -> Sentence:
    counted = d.noun_phrase((*THINGS, *LIVING), (), ("how many",), plain=True)
    return Sentence("how many", "how many", Clause("exist", object=counted, place=d.place(STANDS)))


def _where(d: Drawer) -> Sentence:
    tense = d.choose(("present", "present", "past"))
    return Sentence("where", "where", Clause("be", d.definite((*THINGS, *LIVING)), tense=tense))


def _is_it(d: Drawer) -> Sentence:
    subject = d.definite()
    if d.chance(0.4):
        return Sentence("is it", "question", Clause("be", subject, place=d.place(STANDS)))
    said = d.property(subject) if d.chance(0.3) else d.comparison(subject)
    return Sentence("is it", "question", Clause("be", unlike(subject, said), property=said))


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
    return Sentence("act", "statement", replace(clause, time=d.choose(TIMES[tense])) if d.chance(0.6) else clause)


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
    if subject.noun in LIVING and subject.determiner != "every" and d.chance(0.5):
        subject = replace(subject, adjectives=subject.adjectives[:1], modifier=d.with_something())
    place = PlacePhrase("to", d.noun_phrase((*of_kind("destination"), "garden", "forest"), ("the",), (), plain=True))
    return Sentence(
        "go", "statement", Clause("go", subject, place=place, tense=tense, time=d.choose(("", *TIMES[tense])))
    )


def _give(d: Drawer) -> Sentence:
    tense = d.choose(("present", "past", "future"))
    given = d.noun_phrase(of_kind("object"), plural=("the", "two", "three"))
    verb = d.choose(of_kind("giving"))
    if d.chance(0.25):
        return Sentence("give", "order", Clause(verb, object=given, recipient=d.person()))
    subject = d.someone()
    clause = Clause(verb, subject, object=given, recipient=d.person(besides=subject), tense=tense)
    return Sentence("give", "statement", clause)


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
        Clause("be", unlike(subject, said), property=said),
        Clause("be", subject, place=d.place(STANDS)),
        d.act(d.person(pronouns=True), d.choose(("present", "past"))),
        Clause("exist", object=d.thing(singular=("a",), plural=tuple(COUNTS)), place=d.place(STANDS)),
    )
    return Sentence("think", "statement", Clause(d.choose(of_kind("clausal")), d.someone(), content=d.choose(contents)))


def _because(d: Drawer) -> Sentence:
    conjunction = d.choose(("because", "when", "while"))
    tense = "past" if conjunction == "because" and d.chance(0.4) else "present"
    first = Clause(d.choose(of_kind("intransitive")), d.someone(), tense=tense)
    return Sentence("because", "statement", first, conjunction, d.act(d.person(True, first.subject), tense))


def _and(d: Drawer) -> Sentence:
    conjunction = d.choose(("and", "but"))
    first = Clause(d.choose(of_kind("intransitive")), d.someone(), place=d.place() if d.chance(0.3) else None)
    return Sentence("and", "statement", first, conjunction, d.act(d.person(True, first.subject)))


def _who_does(d: Drawer) -> Sentence:
    head = d.noun_phrase(of_kind("person"), ("the", "a"), ("the", "two", "many"), plain=True)
    inside = d.handle(None, d.choose(("present", "past")))
    assert inside.object
    inside = replace(inside, object=replace(inside.object, adjectives=inside.object.adjectives[:1]))
    head = replace(head, modifier=inside)
    said = d.property(head)
    outer = d.act(head) if d.chance(0.5) else Clause("be", unlike(head, said), property=said)
    return Sentence("who does", "statement", outer)


def _that_is(d: Drawer) -> Sentence:
    head = d.noun_phrase(THINGS, ("the",), ("the",), plain=True)
    subject = d.person(pronouns=True)
    inside = Clause("be", place=d.place(STANDS))
    if d.chance(0.6):
        inside = Clause(d.choose(of_kind("transitive")), subject)
    said = d.property(head)
    outer = Clause("be", replace(unlike(head, said), modifier=inside), property=said)
    if d.chance(0.4):
        verb = d.choose(tuple(verb for verb in of_kind("transitive") if not VERBS[verb].german_particle))
        outer = Clause(verb, d.person(pronouns=True), object=outer.subject)
    return Sentence("that is", "statement", outer)


def _order(d: Drawer) -> Sentence:
    negated = d.chance(0.3)
    verbs = tuple(verb for verb in of_kind("transitive") if verb not in ("see", "love"))
    verb = d.choose(verbs)
    shown = d.noun_phrase(DRAWABLE if verb in ("paint", "draw") else THINGS)
    return Sentence("order", "order", Clause(verb, object=d.definite() if negated else shown, negated=negated))


PATTERNS: dict[Callable[[Drawer], Sentence], int] = {  # sampling weights
    _describe: 8, _compare: 7, _position: 8, _beside: 7, _exist: 8, _how_many: 4, _where: 2, _is_it: 5, _does: 5,
    _who: 3, _what: 3, _act: 9, _not_act: 4, _habit: 5, _go: 8, _give: 8, _two_objects: 4, _modal: 5, _think: 6,
    _because: 6, _and: 5, _who_does: 6, _that_is: 6, _order: 4,
}  # fmt: skip
_LENGTHS = range(3, 20)  # spaces between words
_SAY: dict[str, Callable[[Sentence], str]] = {"de": german.say, "fr": french.say}


def say(sentence: Sentence, language: str) -> str:
    """Returns the sentence in "en", "de" or "fr"."""
    return english.text(english.say(sentence)) if language == "en" else _SAY[language](sentence)


def sample_sentence(rng: random.Random) -> Sentence:
    """Samples a meaning."""
    return rng.choices(list(PATTERNS), list(PATTERNS.values()))[0](Drawer(rng))


def sample_sentences(split: str, seed: str) -> Iterator[tuple[Sentence, str]]:
    """Yields distinct meanings of a split endlessly, each with its English sentence of 4 to 20 words.

    The English sentence decides the split.
    """
    rng = random.Random(f"{seed} {split}")  # a string seeds the same in every process
    seen = set()
    while True:
        sentence = sample_sentence(rng)
        text = say(sentence, "en")
        if text.count(" ") in _LENGTHS and text not in seen and split_of_key(text) == split:
            seen.add(text)
            yield sentence, text
