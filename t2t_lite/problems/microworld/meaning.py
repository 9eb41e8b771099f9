"""What a sentence says, apart from any language. Words are named by their keys in the lexicon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Somebody or something: a noun with its determiner and what is said about it, or a name or pronoun alone."""

    noun: str
    determiner: str = ""
    plural: bool = False
    adjectives: tuple[str, ...] = ()
    modifier: PlacePhrase | Clause | None = None  # a clause that lacks its subject or object is a relative clause


@dataclass(frozen=True, slots=True)
class PlacePhrase:
    """A preposition and what it governs; `between` governs two."""

    preposition: str
    noun_phrase: NounPhrase
    second: NounPhrase | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """What "be" says of its subject: [degree] adjective, adjective and adjective, or a comparison."""

    adjective: str
    degree: str = ""
    second: str = ""
    than: NounPhrase | None = None
    equal: bool = False  # as ... as, instead of more than


@dataclass(frozen=True, slots=True)
class Clause:
    """Who does what to whom, when and where. The verbs "be" and "exist" (there is) are not in the lexicon's table."""

    verb: str
    subject: NounPhrase | None = None
    object: NounPhrase | None = None
    second_object: NounPhrase | None = None  # joined to the first by "and"
    recipient: NounPhrase | None = None
    property: Property | None = None
    place: PlacePhrase | None = None
    content: Clause | None = None  # what is thought, said or known
    tense: str = "present"  # present, past, future
    modal: str = ""
    negated: bool = False
    frequency: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One or two clauses and what is done with them.

    Attributes:
      pattern: the name of the pattern it was drawn from.
      kind: statement, question (yes or no), order, who, what, where, how many.
    """

    pattern: str
    kind: str
    clause: Clause
    conjunction: str = ""
    second: Clause | None = None
