"""German: turns a meaning into a sentence, with gender, case, adjective endings and verb order."""

from dataclasses import dataclass

from t2t_lite.problems.microworld import lexicon
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property, Sentence

# Endings by case, then in the order m, f, n, plural.
_DEFINITE = {"nominative": "der die das die", "accusative": "den die das die", "dative": "dem der dem den"}
_STRONG = {"nominative": "er e es e", "accusative": "en e es e", "dative": "em er em en"}  # dieser, jeder
_EIN = {"nominative": "- e - e", "accusative": "en e - e", "dative": "em er em en"}  # ein, kein, mein
_WEAK = {"nominative": "e e e en", "accusative": "en e e en", "dative": "en en en en"}  # adjectives after der, dieser
_MIXED = {"nominative": "er e es en", "accusative": "en e es en", "dative": "en en en en"}  # after ein, kein, mein
_BARE_PLURAL = {"nominative": "e", "accusative": "e", "dative": "en"}  # after numbers, viele, einige
_EIN_WORDS = {"a": "ein", "no": "kein", "my": "mein"}
_DER_WORDS = {"this": "dies", "every": "jed"}
_OPEN_PLURALS = {"some": "einig", "many": "viel", "how many": "viel"}
_CONTRACTIONS = {
    ("in", "dem"): "im",
    ("bei", "dem"): "beim",
    ("von", "dem"): "vom",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
}
_BE = {"present": ("ist", "sind"), "past": ("war", "waren")}
_HAVE = {"haben": ("hat", "haben"), "sein": ("ist", "sind"), "werden": ("wird", "werden")}


@dataclass
class _Parts:
    """The parts of a clause before word order is applied."""

    subject: list[str]
    finite: str
    middle: list[str]
    final: list[str]  # particle, participle, infinitive
    time: list[str]
    content: list[str]  # a clause at the end

    def main(self) -> list[str]:
        """A main clause: the verb second, after the time or the subject."""
        if self.time:
            return [*self.time, self.finite, *self.subject, *self.middle, *self.final, *self.content]
        return [*self.subject, self.finite, *self.middle, *self.final, *self.content]

    def verb_first(self) -> list[str]:
        return [self.finite, *self.subject, *self.time, *self.middle, *self.final, *self.content]

    def verb_last(self, separable: str = "") -> list[str]:
        """A subordinate clause; a separable verb is one word."""
        if separable and self.final == [separable]:
            return [*self.subject, *self.time, *self.middle, separable + self.finite, *self.content]
        return [*self.subject, *self.time, *self.middle, *self.final, self.finite, *self.content]


def say(sentence: Sentence) -> str:
    """Returns the sentence."""
    clause, mark = sentence.clause, "."
    if sentence.kind == "statement":
        words = _parts(clause).main()
        if sentence.second:
            conjunction = lexicon.CONJUNCTIONS[sentence.conjunction][0].split()
            verb_last = sentence.conjunction not in ("and", "but")
            words += conjunction + (_subordinate(sentence.second) if verb_last else _parts(sentence.second).main())
    elif sentence.kind == "order":
        words, mark = _order(clause), "!"
    else:
        words, mark = _question(sentence.kind, clause), "?"
    text = " ".join(_without_double_commas(words)).replace(" ,", ",") + mark
    return text[0].upper() + text[1:]


def _without_double_commas(words: list[str]) -> list[str]:
    """Drops the comma that ends a relative clause before another comma or the end of the sentence."""
    return [word for word, following in zip(words, [*words[1:], ","], strict=True) if (word, following) != (",", ",")]


def noun_phrase(phrase: NounPhrase, case: str) -> list[str]:
    """Returns the words of a noun phrase in a case; pronouns occur in the nominative only."""
    if phrase.noun in lexicon.NAMES:
        return [phrase.noun]
    if phrase.noun in lexicon.PRONOUNS:
        return [lexicon.PRONOUNS[phrase.noun][0]]
    noun = lexicon.NOUNS[phrase.noun]
    column = 3 if phrase.plural else "mfn".index(noun.german_gender)
    determiner, ending = _determiner(phrase.determiner, case, column)
    adjectives = [lexicon.ADJECTIVES[adjective].german_stem + ending for adjective in phrase.adjectives]
    if phrase.plural:
        name = noun.german[1]
        if case == "dative" and name[-1] not in "ns":
            name += "n"
    else:
        name = noun.german_oblique.get(case, noun.german[0])
    words = [*determiner, *adjectives, name]
    if isinstance(phrase.modifier, PlacePhrase):
        words += _place(phrase.modifier)
    elif isinstance(phrase.modifier, Clause):
        words += [",", *_relative(phrase.modifier, column, phrase.plural), ","]
    return words


def _determiner(determiner: str, case: str, column: int) -> tuple[list[str], str]:
    """Returns the determiner's words, and the ending of the adjectives that follow."""

    def pick(table: dict[str, str]) -> str:
        return table[case].split()[column].replace("-", "")

    if determiner in _EIN_WORDS:
        return [_EIN_WORDS[determiner] + pick(_EIN)], pick(_MIXED)
    if determiner in _DER_WORDS:
        return [_DER_WORDS[determiner] + pick(_STRONG)], pick(_WEAK)
    if determiner == "the":
        return [pick(_DEFINITE)], pick(_WEAK)
    ending = _BARE_PLURAL[case]
    if determiner in _OPEN_PLURALS:
        return [*(["wie"] if determiner == "how many" else []), _OPEN_PLURALS[determiner] + ending], ending
    return [lexicon.COUNTS[determiner][0]], ending


def _relative(clause: Clause, column: int, plural: bool) -> list[str]:
    case = "nominative" if clause.subject is None else "accusative"
    parts = _parts(clause, plural if clause.subject is None else None)
    pronoun = _DEFINITE[case].split()[column]
    return [pronoun, *parts.verb_last(_particle(clause))]


def _subordinate(clause: Clause) -> list[str]:
    return _parts(clause).verb_last(_particle(clause))


def _particle(clause: Clause) -> str:
    return lexicon.VERBS[clause.verb].german_particle if clause.verb in lexicon.VERBS else ""


def _place(phrase: PlacePhrase, preposition: str = "") -> list[str]:
    *head, last = (preposition or lexicon.PREPOSITIONS[phrase.preposition][0]).split()
    first, *rest = noun_phrase(phrase.noun_phrase, "dative")
    second = ["und", *noun_phrase(phrase.second, "dative")] if phrase.second else []
    joined = [_CONTRACTIONS[last, first]] if (last, first) in _CONTRACTIONS else [last, first]
    return [*head, *joined, *rest, *second]


def _parts(clause: Clause, plural: bool | None = None) -> _Parts:
    """Returns the parts of a clause; `plural` states the subject's number if the clause has no subject."""
    if clause.verb == "exist":
        subject, plural = ["es"], False
    else:
        subject = noun_phrase(clause.subject, "nominative") if clause.subject else []
    if plural is None:
        plural = clause.subject is not None and (clause.subject.plural or clause.subject.noun == "they")
    finite, final = _verb(clause, plural)
    time = lexicon.TIMES[clause.time][0].split() if clause.time else []
    content = [",", "dass", *_subordinate(clause.content)] if clause.content else []
    return _Parts(subject, finite, _middle(clause), final, time, content)


def _verb(clause: Clause, plural: bool) -> tuple[str, list[str]]:
    """Returns the finite verb, and the words at the end of the clause."""
    if clause.verb == "be":
        if clause.tense == "future":
            return _HAVE["werden"][plural], ["sein"]
        return _BE[clause.tense][plural], []
    verb = lexicon.VERBS["give" if clause.verb == "exist" else clause.verb]
    infinitive = verb.german_particle + verb.german[0]
    if clause.modal:
        return lexicon.MODALS[clause.modal][0].split()[plural], [infinitive]
    if clause.tense == "future":
        return _HAVE["werden"][plural], [infinitive]
    if clause.tense == "past":
        return _HAVE[verb.german_auxiliary][plural], [verb.german_particle + verb.german[2]]
    return verb.german[0 if plural else 1], [verb.german_particle] if verb.german_particle else []


def _middle(clause: Clause) -> list[str]:
    """Returns the words between the finite verb and the end; definite objects precede "nicht" and "oft"."""
    words = noun_phrase(clause.recipient, "dative") if clause.recipient else []
    adverb = ["nicht"] if clause.negated else []
    if clause.frequency:
        adverb = [lexicon.FREQUENCIES[clause.frequency][0]]
    if clause.object:
        objects = noun_phrase(clause.object, "accusative")
        if clause.second_object:
            objects = [*objects, "und", *noun_phrase(clause.second_object, "accusative")]
        definite = clause.object.determiner in ("the", "this", "my", "")
        words += [*objects, *adverb] if definite else [*adverb, *objects]
    else:
        words += adverb
    if clause.property:
        words += _property(clause.property)
    if clause.place:
        words += _place(clause.place, "zu" if clause.verb == "go" else "")
    return words


def _property(property_: Property) -> list[str]:
    adjective = lexicon.ADJECTIVES[property_.adjective]
    if property_.than is None:
        degree = [lexicon.DEGREES[property_.degree][0]] if property_.degree else []
        second = ["und", lexicon.ADJECTIVES[property_.second].german] if property_.second else []
        return [*degree, adjective.german, *second]
    than = noun_phrase(property_.than, "nominative")
    if property_.equal:
        return ["so", adjective.german, "wie", *than]
    return [adjective.german_comparative, "als", *than]


def _order(clause: Clause) -> list[str]:
    verb = lexicon.VERBS[clause.verb]
    particle = [verb.german_particle] if verb.german_particle else []
    return [verb.german_order, *_middle(clause), *particle]


def _question(kind: str, clause: Clause) -> list[str]:
    if kind == "how many":
        assert clause.object and clause.place
        return [*noun_phrase(clause.object, "accusative"), "gibt", "es", *_place(clause.place)]
    question_word = {"question": [], "who": ["wer"], "where": ["wo"], "what": ["was"]}[kind]
    return question_word + _parts(clause).verb_first()
