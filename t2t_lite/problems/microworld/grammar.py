"""Sentence patterns: samples meanings, and turns each into English, German or French."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from t2t_lite.problems.microworld import english, french, german
from t2t_lite.problems.microworld.lexicon import COUNTS, FREQUENCIES, NAMES, VERBS, of_kind
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Sentence
from t2t_lite.problems.microworld.meaning_sampler import (
    COUNTED,
    DEFINITE,
    DRAWABLE,
    LIVING,
    STANDS,
    THINGS,
    TIMES,
    MeaningSampler,
    without_conflicts,
)
from t2t_lite.problems.microworld.scene import split_of_key


def _describe(sampler: MeaningSampler) -> Sentence:
    nouns = of_kind("shape", "object", "object", "place", "destination")
    subject = sampler.definite(nouns) if sampler.chance(0.65) else sampler.someone()
    property_ = sampler.property(subject)
    clause = Clause(
        "be",
        without_conflicts(subject, property_),
        property=property_,
        tense=sampler.choose(("present", "present", "past")),
    )
    if property_.degree or property_.second:
        return Sentence("describe", "statement", clause)
    return Sentence("describe", "statement", replace(clause, negated=sampler.chance(0.4)))


def _compare(sampler: MeaningSampler) -> Sentence:
    subject = sampler.definite(LIVING if sampler.chance(0.35) else THINGS)
    property_ = sampler.comparison(subject)
    clause = Clause("be", without_conflicts(subject, property_), property=property_, negated=sampler.chance(0.2))
    return Sentence("compare", "statement", clause)


def _position(sampler: MeaningSampler) -> Sentence:
    subject = sampler.definite((*THINGS, *of_kind("animal"))) if sampler.chance(0.7) else sampler.thing(plural=COUNTED)
    tense = sampler.choose(("present", "present", "past", "future"))
    clause = Clause("be", subject, place=sampler.place(STANDS), tense=tense)
    if subject.determiner in DEFINITE and tense != "future":
        kind = sampler.choose(("plain", "negated", "frequency"))
        clause = replace(
            clause,
            negated=kind == "negated",
            frequency=sampler.choose(tuple(FREQUENCIES)) if kind == "frequency" else "",
        )
    return Sentence("position", "statement", clause)


def _beside(sampler: MeaningSampler) -> Sentence:
    return Sentence("beside", "statement", Clause("be", sampler.thing(plural=COUNTED), place=sampler.beside()))


def _exist(sampler: MeaningSampler) -> Sentence:
    if sampler.chance(0.2):
        there = sampler.thing(singular=("no",), plural=())
    else:
        there = sampler.noun_phrase((*THINGS, *LIVING), ("a",), COUNTED)
    if there.noun in LIVING and there.determiner != "no" and sampler.chance(0.7):
        there = replace(there, adjectives=there.adjectives[:1], modifier=sampler.with_something())
    kind = "question" if there.determiner == "a" and sampler.chance(0.2) else "statement"
    return Sentence("exist", kind, Clause("exist", object=there, place=sampler.place(STANDS)))


def _how_many(sampler: MeaningSampler) -> Sentence:
    counted = sampler.noun_phrase((*THINGS, *LIVING), (), ("how many",), plain=True)
    return Sentence("how many", "how many", Clause("exist", object=counted, place=sampler.place(STANDS)))


def _where(sampler: MeaningSampler) -> Sentence:
    tense = sampler.choose(("present", "present", "past"))
    return Sentence("where", "where", Clause("be", sampler.definite((*THINGS, *LIVING)), tense=tense))


def _is_it(sampler: MeaningSampler) -> Sentence:
    subject = sampler.definite()
    if sampler.chance(0.4):
        return Sentence("is it", "question", Clause("be", subject, place=sampler.place(STANDS)))
    property_ = sampler.property(subject) if sampler.chance(0.3) else sampler.comparison(subject)
    return Sentence("is it", "question", Clause("be", without_conflicts(subject, property_), property=property_))


def _does(sampler: MeaningSampler) -> Sentence:
    clause = sampler.act(sampler.someone(), sampler.choose(("present", "past", "future")))
    if sampler.chance(0.2):
        clause = replace(sampler.handle(sampler.someone()), modal=sampler.choose(("can", "must")))
    return Sentence("does", "question", clause)


def _who(sampler: MeaningSampler) -> Sentence:
    return Sentence("who", "who", sampler.act(None, sampler.choose(("present", "past", "future"))))


def _what(sampler: MeaningSampler) -> Sentence:
    clause = sampler.handle(sampler.someone(), sampler.choose(("present", "past", "future")))
    return Sentence(
        "what", "what", replace(clause, object=None, place=sampler.place() if sampler.chance(0.4) else None)
    )


def _act(sampler: MeaningSampler) -> Sentence:
    tense = sampler.choose(("present", "past", "future"))
    clause = sampler.act(sampler.someone(), tense)
    return Sentence(
        "act", "statement", replace(clause, time=sampler.choose(TIMES[tense])) if sampler.chance(0.6) else clause
    )


def _not_act(sampler: MeaningSampler) -> Sentence:
    subject = sampler.definite(LIVING) if sampler.chance(0.4) else NounPhrase(sampler.choose((*NAMES, "he", "she")))
    clause = sampler.handle(subject, sampler.choose(("present", "past")), definite=True)
    return Sentence("not act", "statement", replace(clause, negated=True))


def _habit(sampler: MeaningSampler) -> Sentence:
    subject, tense = sampler.someone(), sampler.choose(("present", "present", "past"))
    if subject.determiner == "every" or sampler.chance(0.67):
        clause = replace(sampler.act(subject, tense), frequency=sampler.choose(("often", "always")))
    else:  # "never" takes no indefinite object: French would change its article
        clause = (
            sampler.handle(subject, tense, definite=True) if sampler.chance(0.5) else sampler.act_alone(subject, tense)
        )
        clause = replace(clause, frequency="never")
    return Sentence("habit", "statement", clause)


def _go(sampler: MeaningSampler) -> Sentence:
    tense = sampler.choose(("present", "past", "future"))
    subject = sampler.someone()
    if subject.noun in LIVING and subject.determiner != "every" and sampler.chance(0.5):
        subject = replace(subject, adjectives=subject.adjectives[:1], modifier=sampler.with_something())
    place = PlacePhrase(
        "to", sampler.noun_phrase((*of_kind("destination"), "garden", "forest"), ("the",), (), plain=True)
    )
    return Sentence(
        "go", "statement", Clause("go", subject, place=place, tense=tense, time=sampler.choose(("", *TIMES[tense])))
    )


def _give(sampler: MeaningSampler) -> Sentence:
    tense = sampler.choose(("present", "past", "future"))
    given = sampler.noun_phrase(of_kind("object"), plural=("the", "two", "three"))
    verb = sampler.choose(of_kind("giving"))
    if sampler.chance(0.25):
        return Sentence("give", "order", Clause(verb, object=given, recipient=sampler.person()))
    subject = sampler.someone()
    clause = Clause(verb, subject, object=given, recipient=sampler.person(besides=subject), tense=tense)
    return Sentence("give", "statement", clause)


def _two_objects(sampler: MeaningSampler) -> Sentence:
    clause = sampler.handle(sampler.someone(), sampler.choose(("present", "past", "future")))
    first = sampler.thing(singular=("a",), plural=tuple(COUNTS))
    return Sentence(
        "two objects",
        "statement",
        replace(clause, object=first, second_object=sampler.thing(singular=("a",), plural=tuple(COUNTS))),
    )


def _modal(sampler: MeaningSampler) -> Sentence:
    modal = sampler.choose(("can", "must", "want"))
    negated = modal == "want" and sampler.chance(0.4)
    clause = sampler.handle(sampler.someone(), definite=negated)
    return Sentence("modal", "statement", replace(clause, modal=modal, negated=negated))


def _think(sampler: MeaningSampler) -> Sentence:
    subject = sampler.definite(plain=True)
    property_ = sampler.property(subject)
    contents = (
        Clause("be", without_conflicts(subject, property_), property=property_),
        Clause("be", subject, place=sampler.place(STANDS)),
        sampler.act(sampler.person(pronouns=True), sampler.choose(("present", "past"))),
        Clause("exist", object=sampler.thing(singular=("a",), plural=tuple(COUNTS)), place=sampler.place(STANDS)),
    )
    return Sentence(
        "think",
        "statement",
        Clause(sampler.choose(of_kind("clausal")), sampler.someone(), content=sampler.choose(contents)),
    )


def _because(sampler: MeaningSampler) -> Sentence:
    conjunction = sampler.choose(("because", "when", "while"))
    tense = "past" if conjunction == "because" and sampler.chance(0.4) else "present"
    first = Clause(sampler.choose(of_kind("intransitive")), sampler.someone(), tense=tense)
    return Sentence("because", "statement", first, conjunction, sampler.act(sampler.person(True, first.subject), tense))


def _and(sampler: MeaningSampler) -> Sentence:
    conjunction = sampler.choose(("and", "but"))
    first = Clause(
        sampler.choose(of_kind("intransitive")),
        sampler.someone(),
        place=sampler.place() if sampler.chance(0.3) else None,
    )
    return Sentence("and", "statement", first, conjunction, sampler.act(sampler.person(True, first.subject)))


def _who_does(sampler: MeaningSampler) -> Sentence:
    head = sampler.noun_phrase(of_kind("person"), ("the", "a"), ("the", "two", "many"), plain=True)
    inside = sampler.handle(None, sampler.choose(("present", "past")))
    assert inside.object
    inside = replace(inside, object=replace(inside.object, adjectives=inside.object.adjectives[:1]))
    head = replace(head, modifier=inside)
    property_ = sampler.property(head)
    outer = (
        sampler.act(head)
        if sampler.chance(0.5)
        else Clause("be", without_conflicts(head, property_), property=property_)
    )
    return Sentence("who does", "statement", outer)


def _that_is(sampler: MeaningSampler) -> Sentence:
    head = sampler.noun_phrase(THINGS, ("the",), ("the",), plain=True)
    subject = sampler.person(pronouns=True)
    inside = Clause("be", place=sampler.place(STANDS))
    if sampler.chance(0.6):
        inside = Clause(sampler.choose(of_kind("transitive")), subject)
    property_ = sampler.property(head)
    outer = Clause("be", replace(without_conflicts(head, property_), modifier=inside), property=property_)
    if sampler.chance(0.4):
        verb = sampler.choose(tuple(verb for verb in of_kind("transitive") if not VERBS[verb].german_particle))
        outer = Clause(verb, sampler.person(pronouns=True), object=outer.subject)
    return Sentence("that is", "statement", outer)


def _order(sampler: MeaningSampler) -> Sentence:
    negated = sampler.chance(0.3)
    verbs = tuple(verb for verb in of_kind("transitive") if verb not in ("see", "love"))
    verb = sampler.choose(verbs)
    shown = sampler.noun_phrase(DRAWABLE if verb in ("paint", "draw") else THINGS)
    return Sentence("order", "order", Clause(verb, object=sampler.definite() if negated else shown, negated=negated))


PATTERNS: dict[Callable[[MeaningSampler], Sentence], int] = {  # sampling weights
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
    return rng.choices(list(PATTERNS), list(PATTERNS.values()))[0](MeaningSampler(rng))


def sample_sentences(split: str, seed: str) -> Iterator[tuple[Sentence, str]]:
    """Yields distinct meanings of a split endlessly, each with its English sentence of 4 to 20 words.

    The English sentence decides the split. "test" has the sentences of "dev", drawn in another order: the problems
    leave out those that their dev split has.
    """
    rng = random.Random(f"{seed} {split}")  # a string seeds the same in every process
    seen, side = set(), "train" if split == "train" else "dev"
    while True:
        sentence = sample_sentence(rng)
        text = say(sentence, "en")
        if text.count(" ") in _LENGTHS and text not in seen and split_of_key(text) == side:
            seen.add(text)
            yield sentence, text
