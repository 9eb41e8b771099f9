"""The microworld's sentences: correct in three languages, one meaning each, and disjoint splits."""

import collections
import itertools
import re
from pathlib import Path

import pytest
from microworld_words import english_words

from t2t_lite.problems.features import Audio
from t2t_lite.problems.microworld import english, grammar
from t2t_lite.problems.microworld.captions import caption
from t2t_lite.problems.microworld.meaning import Clause, NounPhrase, PlacePhrase, Property, Sentence
from t2t_lite.problems.microworld.scene import CLASSES, Scene, Thing, sample_scenes, split_of
from t2t_lite.problems.problem import get_problems
from t2t_lite.problems.trees import delinearise, linearise, split_words

RAW = Path("unused")


@pytest.fixture(scope="module")
def drawn():
    """20,000 (meaning, English, German, French) of the training split."""
    sentences = itertools.islice(grammar.sample_sentences("train", "test"), 20_000)
    return [(s, text, grammar.say(s, "de"), grammar.say(s, "fr")) for s, text in sentences]


def words(text):
    return re.findall(r"[^\W\d_]+", text.lower())


def test_patterns_and_lengths(drawn):
    patterns = {sentence.pattern for sentence, *_ in drawn}
    assert len(patterns) >= 14
    assert len(patterns) == len(grammar.PATTERNS)
    lengths = [len(text.split()) for _, text, *_ in drawn]
    assert (min(lengths), max(lengths)) >= (4, 15)
    assert max(lengths) <= 20
    assert 8 <= sum(lengths) / len(lengths) <= 10


@pytest.mark.parametrize("column", [1, 2, 3])
def test_every_word_is_common(drawn, column):
    counts = collections.Counter(word for row in drawn for word in words(row[column]))
    assert 250 <= len(counts) <= 420
    assert min(counts.values()) >= 15, counts.most_common()[-5:]


def test_every_meaning_has_one_sentence_a_language(drawn):
    for column in (1, 2, 3):
        assert len({row[column] for row in drawn}) == len(drawn)


def test_orthography(drawn):
    for _, *texts in drawn:
        for text in texts:
            assert text[0].isupper() and text[-1] in ".?!"
            assert not re.search(r"  | ,|,,|,[.?!]|' |-( |$)", text), text


def test_french_elides_and_contracts(drawn):
    vowel = "aeiouyhéèêâîôœ"
    for *_, text in drawn:
        assert not re.search(rf"\b(le|la|de|que|ne|ce|ma) [{vowel}]", text.lower().replace("est-ce que", "")), text
        assert not re.search(r"\b(de|à) les?\b", text), text
        assert not re.search(rf"\b(un|le|ce|mon|du|au) (vieux|beau|nouveau) [{vowel}]", text.lower()), text


def test_german_contracts(drawn):
    assert not any(re.search(r"\b([Ii]n|bei|von|zu) dem\b|\bzu der\b", german) for _, _, german, _ in drawn)


def test_one_tree_a_sentence():
    trees = {}
    for sentence, text in itertools.islice(grammar.sample_sentences("dev", "trees"), 3000):
        tree = english.say(sentence)
        assert english.text(tree) == text
        assert trees.setdefault(text, linearise(tree)) == linearise(tree)
        assert split_words(text) == tree.words()
        assert delinearise(linearise(tree), split_words(text)) == tree
    assert max(text.count("(S ") for text in trees.values()) >= 2
    assert sum("(SBAR" in text for text in trees.values()) > 300


def test_depth_of_trees(drawn):
    depths = [english.say(sentence).depth() for sentence, *_ in drawn[:2000]]
    assert min(depths) >= 3 and max(depths) >= 9 and sum(depths) / len(depths) > 5


ANNA = NounPhrase("Anna")


def phrase(noun, determiner="the", *adjectives, plural=False, modifier=None):
    return NounPhrase(noun, determiner, plural, adjectives, modifier)


def at(preposition, *noun_phrases):
    return PlacePhrase(preposition, *noun_phrases)


def statement(clause, conjunction="", second=None):
    return Sentence("", "statement", clause, conjunction, second)


@pytest.mark.parametrize(
    ("meaning", "en", "de", "fr"),
    [
        (
            statement(
                Clause("see", phrase("man"), phrase("star", "a", "large", "red"), tense="past", time="yesterday")
            ),
            "The man saw a large red star yesterday.",
            "Gestern hat der Mann einen großen roten Stern gesehen.",
            "L'homme a vu une grande étoile rouge hier.",
        ),
        (
            statement(Clause("be", phrase("tree", "this", "old"), place=at("next to", phrase("car")))),
            "This old tree is next to the car.",
            "Dieser alte Baum ist neben dem Auto.",
            "Ce vieil arbre est à côté de la voiture.",
        ),
        (
            statement(Clause("be", phrase("key", "two", plural=True), place=at("in", phrase("garden")))),
            "Two keys are in the garden.",
            "Zwei Schlüssel sind im Garten.",
            "Deux clés sont dans le jardin.",
        ),
        (
            statement(Clause("go", phrase("woman", "my", plural=True), place=at("to", phrase("church")), tense="past")),
            "My women went to the church.",
            "Meine Frauen sind zur Kirche gegangen.",
            "Mes femmes sont allées à l'église.",
        ),
        (
            statement(Clause("go", ANNA, place=at("to", phrase("market")), tense="future", time="tomorrow")),
            "Anna will go to the market tomorrow.",
            "Morgen wird Anna zum Markt gehen.",
            "Anna va aller au marché demain.",
        ),
        (
            statement(
                Clause("give", ANNA, object=phrase("ball", "a", "new"), recipient=phrase("boy", "the", "hungry")),
            ),
            "Anna gives a new ball to the hungry boy.",
            "Anna gibt dem hungrigen Jungen einen neuen Ball.",
            "Anna donne un nouveau ballon au garçon affamé.",
        ),
        (
            statement(
                Clause(
                    "be",
                    phrase("flower", modifier=Clause("paint", ANNA)),
                    property=Property("beautiful", than=phrase("moon", "my", "yellow")),
                )
            ),
            "The flower that Anna paints is more beautiful than my yellow moon.",
            "Die Blume, die Anna malt, ist schöner als mein gelber Mond.",
            "La fleur qu'Anna peint est plus belle que ma lune jaune.",
        ),
        (
            statement(Clause("exist", object=phrase("apple", "no", "dirty"), place=at("under", phrase("chair", "a")))),
            "There is no dirty apple under a chair.",
            "Es gibt keinen schmutzigen Apfel unter einem Stuhl.",
            "Il n'y a pas de pomme sale sous une chaise.",
        ),
        (
            statement(
                Clause("laugh", NounPhrase("they", plural=True)),
                "because",
                Clause("pick", phrase("horse"), object=phrase("hat", "some", "white", plural=True)),
            ),
            "They laugh because the horse picks up some white hats.",
            "Sie lachen, weil das Pferd einige weiße Hüte aufhebt.",
            "Ils rient parce que le cheval ramasse quelques chapeaux blancs.",
        ),
        (
            Sentence("", "order", Clause("pick", object=phrase("picture", "this", plural=True), negated=True)),
            "Do not pick up these pictures!",
            "Hebe diese Bilder nicht auf!",
            "Ne ramasse pas ces images !",
        ),
        (
            Sentence(
                "",
                "how many",
                Clause(
                    "exist", object=phrase("bird", "how many", plural=True), place=at("to the left of", phrase("lake"))
                ),
            ),
            "How many birds are there to the left of the lake?",
            "Wie viele Vögel gibt es links vom See?",
            "Combien d'oiseaux y a-t-il à gauche du lac ?",
        ),
        (
            Sentence(
                "",
                "question",
                Clause("wash", NounPhrase("she"), object=phrase("apple", "many", plural=True), tense="past"),
            ),
            "Did she wash many apples?",
            "Hat sie viele Äpfel gewaschen?",
            "Est-ce qu'elle a lavé beaucoup de pommes ?",
        ),
        (
            statement(
                Clause(
                    "be",
                    phrase("star", plural=True),
                    place=at("between", phrase("heart", "a"), phrase("ring", "my")),
                    negated=True,
                )
            ),
            "The stars are not between a heart and my ring.",
            "Die Sterne sind nicht zwischen einem Herzen und meinem Ring.",
            "Les étoiles ne sont pas entre un cœur et mon anneau.",
        ),
    ],
)
def test_against_sentences_written_by_hand(meaning, en, de, fr):
    assert grammar.say(meaning, "en") == en
    assert grammar.say(meaning, "de") == de
    assert grammar.say(meaning, "fr") == fr


def test_a_relative_clause_at_the_end_leaves_one_comma():
    thing = phrase("star", modifier=Clause("be", place=at("on", phrase("table"))))
    assert (
        grammar.say(statement(Clause("see", ANNA, object=thing)), "de")
        == "Anna sieht den Stern, der auf dem Tisch ist."
    )


def test_dev_and_train_share_no_sentences(drawn):
    train = {text for _, text, *_ in drawn}
    dev = [text for _, text in itertools.islice(grammar.sample_sentences("dev", "test"), 400)]
    assert len(set(dev)) == 400 and not train.intersection(dev)
    assert {word for text in dev for word in words(text)} <= {word for text in train for word in words(text)}


def test_scenes_split_and_cover_the_classes():
    train = list(itertools.islice(sample_scenes("train", "test", (1,)), 5000))
    dev = list(itertools.islice(sample_scenes("dev", "test", (1,)), 1000))
    assert not set(train) & set(dev)
    assert {scene.things[0].class_name for scene in train} == set(CLASSES)
    assert len(CLASSES) == len(set(CLASSES)) == 64
    assert {split_of(scene) for scene in dev} == {"dev"}
    pairs = [set(itertools.islice(sample_scenes(split, "test", (2, 3)), 500)) for split in ("train", "dev")]
    assert {scene.things for scene in pairs[0]}.isdisjoint(scene.things for scene in pairs[1])


def test_captions_follow_from_what_is_seen():
    large, small = Thing("star", "red", "large", 2, 2), Thing("cross", "orange", "small", 2, 0)
    assert caption(Scene((large,), "pink")) == "There is a large red star in the bottom right corner."
    assert caption(Scene((small, large), "pink")) == "A large red star is to the right of a small orange cross."
    seen = {}
    for scene in itertools.islice(sample_scenes("train", "captions", (1, 2, 3)), 3000):
        text = caption(scene)
        assert 4 <= len(text.split()) <= 16
        assert set(words(text)) <= set(english_words())
        assert all(thing.colour in text and thing.shape in text for thing in scene.things)
        kinds = [(thing.class_name, thing.size) for thing in scene.things]
        assert seen.setdefault(text, sorted(kinds)) == sorted(kinds) or len(kinds) == 3
    line = tuple(Thing("cross", "orange", "small", row, 1) for row in range(3))
    assert caption(Scene(line, "grey")) == "Three orange crosses are in a column."


def test_the_mixture_has_the_eight_problems_and_generates():
    problems = get_problems(["microworld"])
    assert len(problems) == 8
    for name, problem in problems.items():
        first, again = (list(itertools.islice(problem.examples("train", RAW), 50)) for _ in range(2))
        assert first == again, name
        assert problem.command
        if isinstance(problem.inputs, Audio):
            assert problem.inputs.sample_rate == 8000
        assert len(list(problem.examples("dev", RAW))) == (200 if name == "microworld_speech" else 400)


def test_translation_directions_mirror_each_other():
    problems = get_problems(["microworld_ende", "microworld_ende_rev"])
    forth, back = (list(itertools.islice(problem.examples("train", RAW), 100)) for problem in problems.values())
    assert [(e["inputs"], e["targets"]) for e in forth] == [(e["targets"], e["inputs"]) for e in back]


def test_spoken_sentences_are_short_plain_and_known():
    (speech,) = get_problems(["microworld_speech"]).values()
    for sentence, seed in itertools.islice(speech.examples("train", RAW), 1000):
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", sentence)
        assert len(sentence.split()) <= 11
        assert set(sentence.split()) <= set(english_words())
        assert isinstance(seed, int)
