"""The meaning of a sentence, independent of the language. Words are keys of the lexicon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with its determiner, adjectives and modifier, or a name or pronoun alone."""

    noun: str
    determiner: str = ""
    plural: bool = False
    adjectives: tuple[str, ...] = ()
    modifier: PlacePhrase | Clause | None = None  # a relative clause lacks its subject or object


@dataclass(frozen=True, slots=True)
class PlacePhrase:
    """A preposition with its noun phrase; `between` has two."""

    preposition: str
    noun_phrase: NounPhrase
    second: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """A predicate of "be": [degree] adjective, adjective and adjective, or a comparison."""

    adjective: str
    degree: str = ""
    second: str = ""
    than: NounPhrase | None = None
    equal: bool = False  # as ... as, instead of more than


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause: a verb with its arguments, time and place. "be" and "exist" (there is) are not in the lexicon."""

    verb: str
    subject: NounPhrase | None = None
    object: NounPhrase | None = None
    second_object: NounPhrase | None = None  # joined to the first by "and"
    recipient: NounPhrase | None = None
    property: Property | None = None
    place: PlacePhrase | None = None
    content: Clause | None = None  # of think, say, know: the subordinate clause
    tense: str = "present"  # present, past, future
    modal: str = ""
    negated: bool = False
    frequency: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One or two clauses and the kind of sentence that they form.

    Attributes:
      pattern: the name of the pattern it was sampled from.
      kind: statement, question (yes or no), order, who, what, where, how many.
    """

    pattern: str
    kind: str
    clause: Clause
    conjunction: str = ""
    second: Clause | None = None
