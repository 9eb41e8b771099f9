"""English: turns a meaning into a sentence, as a constituency tree with Penn Treebank labels."""

from t2t_lite.problems.microworld import lexicon
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property, Sentence
from t2t_lite.problems.trees import Tree

_DETERMINER_TAGS = {"my": "PRP$", "many": "JJ", "two": "CD", "three": "CD", "four": "CD"}
_PREPOSITIONS = {  # of more than one word: the tree of their phrase around the noun phrase
    "in front of": lambda np: _t("PP", _w("IN in"), _t("NP", _t("NP", _w("NN front")), _t("PP", _w("IN of"), np))),
    "next to": lambda np: _t("PP", _w("JJ next"), _t("PP", _w("TO to"), np)),
    "to the left of": lambda np: _beside("left", np),
    "to the right of": lambda np: _beside("right", np),
}
_TIMES = {
    "now": "ADVP RB",
    "today": "NP NN",
    "yesterday": "NP NN",
    "tomorrow": "NP NN",
}


def say(sentence: Sentence) -> Tree:
    """Returns the sentence's tree, its first word capitalised."""
    clause, mark = sentence.clause, "!" if sentence.kind == "order" else "."
    if sentence.kind == "statement":
        tree = _joined(sentence) if sentence.second else _clause(clause)
    elif sentence.kind == "order":
        verb = _predicate(clause, "base")
        tree = _t("S", _t("VP", _w("VB do"), _w("RB not"), verb) if clause.negated else verb)
    else:
        tree, mark = _question(sentence.kind, clause), "?"
    return _capitalised(Tree(tree.label, (*tree.children, _w(f". {mark}"))))


def text(tree: Tree) -> str:
    """Returns the sentence of a tree, with punctuation attached to the words."""
    joined = " ".join(tree.words())
    for mark in ",.?!":
        joined = joined.replace(f" {mark}", mark)
    return joined


def noun_phrase(phrase: NounPhrase) -> Tree:
    """Returns the tree of a noun phrase."""
    if phrase.noun in lexicon.NAMES:
        return _t("NP", _w(f"NNP {phrase.noun}"))
    if phrase.noun in lexicon.PRONOUNS:
        return _t("NP", _w(f"PRP {phrase.noun}"))
    noun = _w(f"{'NNS' if phrase.plural else 'NN'} {lexicon.NOUNS[phrase.noun].english[phrase.plural]}")
    adjectives = [_w(f"JJ {adjective}") for adjective in phrase.adjectives]
    if phrase.determiner == "how many":
        return _t("WHNP", _t("WHADJP", _w("WRB how"), _w("JJ many")), *adjectives, noun)
    determiner = phrase.determiner
    if determiner == "this" and phrase.plural:
        determiner = "these"
    if determiner == "a" and (adjectives or [noun])[0].words()[0][0] in "aeio":
        determiner = "an"
    tree = _t("NP", _w(f"{_DETERMINER_TAGS.get(determiner, 'DT')} {determiner}"), *adjectives, noun)
    if isinstance(phrase.modifier, PlacePhrase):
        return _t("NP", tree, _place(phrase.modifier))
    if isinstance(phrase.modifier, Clause):
        return _t("NP", tree, _relative(phrase.modifier, phrase))
    return tree


def _relative(clause: Clause, head: NounPhrase) -> Tree:
    living = lexicon.NOUNS[head.noun].kind == "person"
    pronoun = _t("WHNP", _w("WP who" if living else "WDT that"))
    if clause.subject is None:
        return _t("SBAR", pronoun, _t("S", _verb_phrase(clause, head.plural)))
    return _t("SBAR", pronoun, _clause(clause))


def _place(phrase: PlacePhrase) -> Tree:
    np = noun_phrase(phrase.noun_phrase)
    if phrase.second:
        np = _t("NP", np, _w("CC and"), noun_phrase(phrase.second))
    if phrase.preposition in _PREPOSITIONS:
        return _PREPOSITIONS[phrase.preposition](np)
    return _t("PP", _w(f"IN {phrase.preposition}"), np)


def _beside(side: str, np: Tree) -> Tree:
    return _t("PP", _w("TO to"), _t("NP", _t("NP", _w("DT the"), _w(f"NN {side}")), _t("PP", _w("IN of"), np)))


def _joined(sentence: Sentence) -> Tree:
    assert sentence.second is not None
    first, second, conjunction = _clause(sentence.clause), _clause(sentence.second), sentence.conjunction
    if conjunction in ("because", "when", "while"):
        word = _t("WHADVP", _w("WRB when")) if conjunction == "when" else _w(f"IN {conjunction}")
        *before, verb_phrase = first.children
        assert isinstance(verb_phrase, Tree)
        reason = _t("SBAR", word, second)
        return Tree("S", (*before, Tree(verb_phrase.label, (*verb_phrase.children, reason))))
    comma = [_w(", ,")] if conjunction == "but" else []
    return _t("S", first, *comma, _w(f"CC {conjunction}"), second)


def _clause(clause: Clause) -> Tree:
    if clause.verb == "exist":
        return _t("S", _t("NP", _w("EX there")), _verb_phrase(clause, _plural(clause)))
    assert clause.subject is not None
    adverb = []
    if clause.frequency and clause.verb != "be":
        adverb = [_t("ADVP", _w(f"RB {clause.frequency}"))]
    return _t("S", noun_phrase(clause.subject), *adverb, _verb_phrase(clause, _plural(clause)))


def _plural(clause: Clause) -> bool:
    subject = clause.object if clause.verb == "exist" else clause.subject
    return subject is not None and (subject.plural or subject.noun == "they")


def _verb_phrase(clause: Clause, plural: bool) -> Tree:
    not_ = [_w("RB not")] if clause.negated else []
    if clause.modal == "want":
        inside = _t("S", _t("VP", _w("TO to"), _predicate(clause, "base")))
        if not_:
            return _t("VP", _auxiliary("present", plural), *not_, _t("VP", _w("VB want"), inside))
        return _t("VP", _w("VBP want" if plural else "VBZ wants"), inside)
    if clause.modal or clause.tense == "future":
        return _t("VP", _w(f"MD {clause.modal or 'will'}"), *not_, _predicate(clause, "base"))
    if not_ and clause.verb not in ("be", "exist"):
        return _t("VP", _auxiliary(clause.tense, plural), *not_, _predicate(clause, "base"))
    return _predicate(clause, "past" if clause.tense == "past" else "plural" if plural else "singular", plural)


def _auxiliary(tense: str, plural: bool) -> Tree:
    return _w("VBD did" if tense == "past" else "VBP do" if plural else "VBZ does")


def _predicate(clause: Clause, form: str, plural: bool = False) -> Tree:
    """The verb phrase: the verb in a form ("base", "singular", "plural", "past") and its complements."""
    if clause.verb in ("be", "exist"):
        head = [_be(form, plural)]
        if clause.frequency:
            head.append(_t("ADVP", _w(f"RB {clause.frequency}")))
        if clause.negated and form != "base":
            head.append(_w("RB not"))
    else:
        verb = lexicon.VERBS[clause.verb]
        head = [
            _w(
                {
                    "base": f"VB {verb.english[0]}",
                    "plural": f"VBP {verb.english[0]}",
                    "singular": f"VBZ {verb.english[1]}",
                    "past": f"VBD {verb.english[2]}",
                }[form]
            )
        ]
        if verb.english_particle:
            head.append(_t("PRT", _w(f"RP {verb.english_particle}")))
    return _t("VP", *head, *_complements(clause))


def _be(form: str, plural: bool) -> Tree:
    if form == "past":
        return _w("VBD were" if plural else "VBD was")
    return _w({"base": "VB be", "singular": "VBZ is", "plural": "VBP are"}[form])


def _complements(clause: Clause) -> list[Tree]:
    complements = []
    if clause.object and clause.object.determiner != "how many":
        complements.append(noun_phrase(clause.object))
    if clause.second_object:
        complements = [_t("NP", *complements, _w("CC and"), noun_phrase(clause.second_object))]
    if clause.recipient:
        complements.append(_t("PP", _w("TO to"), noun_phrase(clause.recipient)))
    if clause.property:
        complements.append(_property(clause.property))
    if clause.place:
        going = clause.verb == "go"
        complements.append(
            _t("PP", _w("TO to"), noun_phrase(clause.place.noun_phrase)) if going else _place(clause.place)
        )
    if clause.content:
        complements.append(_t("SBAR", _w("IN that"), _clause(clause.content)))
    if clause.time:
        complements.append(_time(clause.time))
    return complements


def _property(property_: Property) -> Tree:
    adjective = lexicon.ADJECTIVES[property_.adjective]
    if property_.than is None:
        degree = [_w(f"RB {property_.degree}")] if property_.degree else []
        second = [_w("CC and"), _w(f"JJ {property_.second}")] if property_.second else []
        return _t("ADJP", *degree, _w(f"JJ {adjective.english}"), *second)
    than = noun_phrase(property_.than)
    if property_.equal:
        return _t("ADJP", _w("RB as"), _w(f"JJ {adjective.english}"), _t("PP", _w("IN as"), than))
    if adjective.english_comparative == "-":
        return _t("ADJP", _w("RBR more"), _w(f"JJ {adjective.english}"), _t("PP", _w("IN than"), than))
    return _t("ADJP", _w(f"JJR {adjective.english_comparative}"), _t("PP", _w("IN than"), than))


def _time(time: str) -> Tree:
    if time in _TIMES:
        label, tag = _TIMES[time].split()
        return _t(label, _w(f"{tag} {time}"))
    if time == "every day":
        return _t("NP", _w("DT every"), _w("NN day"))
    return _t("PP", _w("IN on"), _t("NP", _w(f"NNP {time.split()[1]}")))


def _question(kind: str, clause: Clause) -> Tree:
    if kind == "who":
        return _t("SBARQ", _t("WHNP", _w("WP who")), _t("SQ", _verb_phrase(clause, plural=False)))
    inside = _inverted(clause)
    if kind == "question":
        return inside
    if kind == "how many":
        assert clause.object
        return _t("SBARQ", noun_phrase(clause.object), inside)
    question_words = {"where": _t("WHADVP", _w("WRB where")), "what": _t("WHNP", _w("WP what"))}
    return _t("SBARQ", question_words[kind], inside)


def _inverted(clause: Clause) -> Tree:
    """A clause with its finite verb before the subject."""
    plural = _plural(clause)
    if clause.verb == "exist":
        subject = _t("NP", _w("EX there"))
    else:
        assert clause.subject
        subject = noun_phrase(clause.subject)
    if clause.verb in ("be", "exist"):
        form = "past" if clause.tense == "past" else "plural" if plural else "singular"
        return _t("SQ", _be(form, plural), subject, *_complements(clause))
    modal = clause.modal or ("will" if clause.tense == "future" else "")
    auxiliary = _w(f"MD {modal}") if modal else _auxiliary(clause.tense, plural)
    return _t("SQ", auxiliary, subject, _predicate(clause, "base"))


def _t(label: str, *children: Tree) -> Tree:
    return Tree(label, children)


def _w(leaf: str) -> Tree:
    """A leaf, from "TAG word"."""
    tag, word = leaf.split()
    return Tree(tag, (word,))


def _capitalised(tree: Tree) -> Tree:
    first = tree.children[0]
    new = first[0].upper() + first[1:] if isinstance(first, str) else _capitalised(first)
    return Tree(tree.label, (new, *tree.children[1:]))
