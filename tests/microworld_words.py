"""The English words of microworld, for tests of its sentences and voices."""

from functools import cache

from t2t_lite.problems.microworld.lexicon import (
    ADJECTIVES,
    CONJUNCTIONS,
    COUNTS,
    DEGREES,
    FREQUENCIES,
    MODALS,
    NAMES,
    NOUNS,
    PREPOSITIONS,
    PRONOUNS,
    SINGULAR_KINDS,
    TIMES,
    VERBS,
)

_FUNCTION_WORDS = """
    a an the this these my every some many no is are was were be does do did will not there more than as who
    what where how that to of up corner top bottom left right middle side by one other row column from at
    below front next
"""


@cache
def english_words() -> tuple[str, ...]:
    """Returns all English words that a microworld sentence may contain, in lower case, sorted."""
    words = set(_FUNCTION_WORDS.split())
    for noun in NOUNS.values():
        words.update(noun.english[:1] if noun.kind in SINGULAR_KINDS else noun.english)
    for adjective in ADJECTIVES.values():
        words.update((adjective.english, adjective.english_comparative))
    for verb in VERBS.values():
        words.update(verb.english)
    for table in (NAMES, PRONOUNS, PREPOSITIONS, TIMES, FREQUENCIES, DEGREES, MODALS, CONJUNCTIONS, COUNTS):
        words.update(word for phrase in table for word in phrase.lower().split())
    return tuple(sorted(words - {"-"} | {"wants"}))
