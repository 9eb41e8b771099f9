"""French: turns a meaning into a sentence, with gender, agreement, adjective order, elision and contraction."""

from t2t_lite.problems.microworld import lexicon
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property, Sentence

_ELIDED = {"le": "l'", "la": "l'", "de": "d'", "que": "qu'", "ne": "n'"}
_CONTRACTIONS = {("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux"}
# Masculine, feminine, plural; _determiner handles "my" and "this" before a vowel.
_DETERMINERS = {
    "the": ("le", "la", "les"),
    "a": ("un", "une", ""),
    "this": ("ce", "cette", "ces"),
    "my": ("mon", "ma", "mes"),
    "every": ("chaque", "chaque", ""),
    "no": ("de", "de", "de"),
    "some": ("", "", "quelques"),
    "many": ("", "", "beaucoup de"),
    "how many": ("", "", "combien de"),
}
_BEFORE_VOWEL = {"ce": "cet", "ma": "mon"}
_BE = {"present": ("est", "sont"), "past": ("était", "étaient")}
_HAVE = ("a", "ont")
_GO = ("va", "vont")  # aller + infinitive is the future


def say(sentence: Sentence) -> str:
    """Returns the sentence."""
    clause, mark = sentence.clause, "."
    if sentence.kind == "statement":
        words = _clause(clause)
        if sentence.second:
            words += [*lexicon.CONJUNCTIONS[sentence.conjunction][1].split(), *_clause(sentence.second)]
    elif sentence.kind == "order":
        words, mark = _order(clause), " !"
    else:
        words, mark = _question(sentence.kind, clause), " ?"
    text = " ".join(_joined(words)).replace("' ", "'").replace(" ,", ",") + mark
    return text[0].upper() + text[1:]


def noun_phrase(phrase: NounPhrase) -> list[str]:
    """Returns the words of a noun phrase, before elision and contraction."""
    if phrase.noun in lexicon.NAMES:
        return [phrase.noun]
    if phrase.noun in lexicon.PRONOUNS:
        return [lexicon.PRONOUNS[phrase.noun][1]]
    noun = lexicon.NOUNS[phrase.noun]
    feminine = noun.french_gender == "f"
    before: list[str] = []
    after = [noun.french[phrase.plural]]
    for key in reversed(phrase.adjectives):
        adjective = lexicon.ADJECTIVES[key]
        form = adjective.french[feminine + 2 * phrase.plural]
        if adjective.french_first:
            next_word = (before + after)[0]
            if not phrase.plural and not feminine and _starts_with_vowel(next_word):
                form = adjective.french_before_vowel
            before.insert(0, form)
        else:
            after.append(form)
    words = [*_determiner(phrase, feminine, (before + after)[0]), *before, *after]
    if isinstance(phrase.modifier, PlacePhrase):
        words += _place(phrase.modifier)
    elif isinstance(phrase.modifier, Clause):
        subject_missing = phrase.modifier.subject is None
        words += ["qui" if subject_missing else "que", *_clause(phrase.modifier, phrase if subject_missing else None)]
    return words


def _determiner(phrase: NounPhrase, feminine: bool, next_word: str) -> list[str]:
    if phrase.determiner in lexicon.COUNTS:
        return [lexicon.COUNTS[phrase.determiner][1]]
    determiner = _DETERMINERS[phrase.determiner][2 if phrase.plural else feminine]
    if _starts_with_vowel(next_word):
        determiner = _BEFORE_VOWEL.get(determiner, determiner)
    return determiner.split()


def _starts_with_vowel(word: str) -> bool:
    """Whether the word before it is elided; every h of the lexicon is mute."""
    return word[0].lower() in "aeiouyhéèêâîôœ"


def _joined(words: list[str]) -> list[str]:
    """Applies elision, then contraction: de + le + arbre -> de + l'arbre, but de + le + chat -> du chat."""
    elided = [
        _ELIDED[word] if word in _ELIDED and _starts_with_vowel(following) else word
        for word, following in zip(words, [*words[1:], "."], strict=True)
    ]
    joined: list[str] = []
    for word in elided:
        if joined and (joined[-1], word) in _CONTRACTIONS:
            joined[-1] = _CONTRACTIONS[joined[-1], word]
        else:
            joined.append(word)
    return joined


def _place(phrase: PlacePhrase) -> list[str]:
    preposition = lexicon.PREPOSITIONS[phrase.preposition][1].split()
    second = ["et", *noun_phrase(phrase.second)] if phrase.second else []
    return [*preposition, *noun_phrase(phrase.noun_phrase), *second]


def _clause(clause: Clause, head: NounPhrase | None = None) -> list[str]:
    """Returns a clause's words; `head` is the antecedent of a relative clause without a subject."""
    if clause.verb == "exist":
        negated = clause.object is not None and clause.object.determiner == "no"
        verb = ["il", "ne", "y", "a", "pas"] if negated else ["il", "y", "a"]
        return [*verb, *_complements(clause)]
    subject = noun_phrase(clause.subject) if clause.subject else []
    return [*subject, *_verb(clause, clause.subject or head), *_complements(clause)]


def _verb(clause: Clause, subject: NounPhrase | None) -> list[str]:
    """The verb group with its negation: ne + finite + pas + participle or infinitive."""
    plural = subject is not None and (subject.plural or subject.noun == "they")
    finite, *rest = _verb_forms(clause, plural, subject)
    if clause.negated:
        return ["ne", finite, "pas", *rest]
    if clause.frequency == "never":
        return ["ne", finite, "jamais", *rest]
    return [finite, *([lexicon.FREQUENCIES[clause.frequency][1]] if clause.frequency else []), *rest]


def _verb_forms(clause: Clause, plural: bool, subject: NounPhrase | None) -> list[str]:
    if clause.verb == "be":
        return [_GO[plural], "être"] if clause.tense == "future" else [_BE[clause.tense][plural]]
    verb = lexicon.VERBS[clause.verb]
    if clause.modal:
        return [lexicon.MODALS[clause.modal][1].split()[plural], verb.french[2]]
    if clause.tense == "future":
        return [_GO[plural], verb.french[2]]
    if clause.tense == "past":
        if clause.verb == "go":  # conjugated with être: the participle agrees with the subject
            return [_BE["present"][plural], verb.french[3] + "e" * _is_feminine(subject) + "s" * plural]
        return [_HAVE[plural], verb.french[3]]
    return [verb.french[plural]]


def _is_feminine(phrase: NounPhrase | None) -> bool:
    if phrase is None:
        return False
    if phrase.noun in lexicon.NOUNS:
        return lexicon.NOUNS[phrase.noun].french_gender == "f"
    return phrase.noun == "she" or lexicon.NAMES.get(phrase.noun) == "f"


def _complements(clause: Clause) -> list[str]:
    words = noun_phrase(clause.object) if clause.object and clause.object.determiner != "how many" else []
    if clause.second_object:
        words += ["et", *noun_phrase(clause.second_object)]
    if clause.recipient:
        words += ["à", *noun_phrase(clause.recipient)]
    if clause.property:
        words += _property(clause.property, clause.subject)
    if clause.place:
        words += ["à", *noun_phrase(clause.place.noun_phrase)] if clause.verb == "go" else _place(clause.place)
    if clause.content:
        words += ["que", *_clause(clause.content)]
    if clause.time:
        words += lexicon.TIMES[clause.time][1].split()
    return words


def _property(property_: Property, subject: NounPhrase | None) -> list[str]:
    assert subject is not None
    index = _is_feminine(subject) + 2 * (subject.plural or subject.noun == "they")
    word = lexicon.ADJECTIVES[property_.adjective].french[index]
    if property_.than is not None:
        return ["aussi" if property_.equal else "plus", word, "que", *noun_phrase(property_.than)]
    degree = [lexicon.DEGREES[property_.degree][1]] if property_.degree else []
    second = ["et", lexicon.ADJECTIVES[property_.second].french[index]] if property_.second else []
    return [*degree, word, *second]


def _order(clause: Clause) -> list[str]:
    verb = lexicon.VERBS[clause.verb].french_order
    return [*(["ne", verb, "pas"] if clause.negated else [verb]), *_complements(clause)]


def _question(kind: str, clause: Clause) -> list[str]:
    if kind == "question":
        return ["est-ce", "que", *_clause(clause)]
    if kind == "what":
        return ["qu'est-ce", "que", *_clause(clause)]
    if kind == "who":
        return ["qui", *_clause(clause)]
    if kind == "how many":
        assert clause.object and clause.place
        return [*noun_phrase(clause.object), "y", "a-t-il", *_place(clause.place)]
    assert clause.subject
    return ["où", *_verb(clause, clause.subject), *noun_phrase(clause.subject)]
