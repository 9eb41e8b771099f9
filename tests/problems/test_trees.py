"""Brackets, the linear form, and what is made of a linear form that is none."""

import random

import pytest

from t2t_lite.errors import UserError
from t2t_lite.evaluation.brackets import score_trees
from t2t_lite.problems.trees import Tree, bracketed, delinearise, linearise, parse, split_words

BRACKETS = "(S (NP (DT The) (NN cat)) (VP (VBZ sleeps) (PP (IN on) (NP (DT a) (NN chair)))) (. .))"
LINEAR = "(S (NP DT NN )NP (VP VBZ (PP IN (NP DT NN )NP )PP )VP . )S"


def test_parse_and_print_are_inverse():
    tree = parse(BRACKETS)
    assert str(tree) == BRACKETS
    assert tree.words() == ["The", "cat", "sleeps", "on", "a", "chair", "."]
    assert list(tree.leaves())[1] == ("NN", "cat")
    assert tree.depth() == 5


def test_unlabelled_outer_brackets_are_dropped():
    assert parse(f"( {BRACKETS} )") == parse(BRACKETS)


@pytest.mark.parametrize(
    ("brackets", "complaint"),
    [
        ("", "no tree"),
        ("(S (NP (DT the))", "character 17: 1 bracket"),
        ("(S (DT the)))", "character 13: '\\)' after the end"),
        ("(S (DT the)) (S (DT a))", "character 14: .* one tree a line"),
        ("the cat", "character 1: 'the' outside"),
        ("(S ())", "character 5: a constituent without a label"),
        ("(S (NP))", r"character 7: '\(NP\)' is empty"),
        ("(S (DT the) cat)", "'cat' under 'S' needs a tag"),
        ("(S (NN the cat))", "'the' under 'NN' needs a tag"),
    ],
)
def test_broken_brackets_are_named(brackets, complaint):
    with pytest.raises(UserError, match=complaint):
        parse(brackets)


def test_linear_form_and_back():
    tree = parse(BRACKETS)
    assert linearise(tree) == LINEAR
    assert delinearise(LINEAR, tree.words()) == tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(S (NP DT NN", "(S (NP (DT a) (NN b)) (XX c))"),  # nothing closed; a word too many
        ("(S (NP DT NN (VP VBZ )S", "(S (NP (DT a) (NN b) (VP (VBZ c))))"),  # )S closes what is inside
        ("(S DT )NP NN )VP VBZ )S", "(S (DT a) (NN b) (VBZ c))"),  # closes nothing
        ("(S (NP )NP DT NN VBZ . . )S", "(S (DT a) (NN b) (VBZ c))"),  # an empty phrase; tags too many
        ("(NP DT NN )NP (VP VBZ )VP", "(S (NP (DT a) (NN b)) (VP (VBZ c)))"),  # two roots
        ("", "(S (XX a) (XX b) (XX c))"),
        ("( ) (( ))", "(S (XX a) (XX b) (XX c))"),
    ],
)
def test_repairs(text, expected):
    assert str(delinearise(text, ["a", "b", "c"])) == expected


def test_any_garbage_gives_a_tree_over_the_words():
    rng = random.Random(5)
    tokens = [
        "(",
        ")",
        ".",
        ",",
        "ab",
        "(S",
        ")S",
        "(NP",
        ")NP",
        "(VP",
        ")VP",
        "DT",
        "NN",
        "((",
        "))X",
        "S(",
        "N(P",
        "(V)P",
    ]
    for _ in range(3000):
        text = " ".join(rng.choice(tokens) for _ in range(rng.randrange(25)))
        words = [rng.choice("xyz") for _ in range(rng.randrange(1, 8))]
        tree = delinearise(text, words)
        assert tree.words() == words
        assert parse(str(tree)) == tree


def test_random_trees_survive_the_linear_form():
    rng = random.Random(6)

    def grow(depth: int) -> Tree:
        if depth == 0 or rng.random() < 0.3:
            return Tree(rng.choice(["DT", "NN", "."]), (rng.choice("abc"),))
        return Tree(rng.choice(["S", "NP", "VP"]), tuple(grow(depth - 1) for _ in range(rng.randrange(1, 4))))

    for _ in range(500):
        tree = Tree("S", (grow(4), grow(4)))
        assert delinearise(linearise(tree), tree.words()) == tree


def test_no_words_no_tree():
    with pytest.raises(ValueError, match="at least one word"):
        delinearise("(S NN )S", [])


def test_brackets_without_end_are_borne():
    """As a network writes them before it has learnt anything."""
    text = " ".join(["(S"] * 511 + ["DT"])
    tree = delinearise(text, ["a"])
    assert tree.words() == ["a"] and 50 < tree.depth() <= 100
    assert parse(bracketed(text, "a")) == tree
    assert 0 < score_trees([text], ["(S DT )S"])["bracket_f1"] < 0.1


def test_brackets_over_the_words_of_a_treebank_or_of_a_text():
    assert bracketed("(S NN CD )S", "x-3 4,000") == "(S (NN x-3) (CD 4,000))"
    assert bracketed("(S DT NN . )S", "A star.") == "(S (DT A) (NN star) (. .))"
    assert bracketed("(S NN", "(") == "(S (NN -LRB-))"
    assert bracketed("", "no answer") == "(S (XX no) (XX answer))"


def test_split_words():
    assert split_words("Anna's cat waits, but I don't.") == ["Anna's", "cat", "waits", ",", "but", "I", "don't", "."]
