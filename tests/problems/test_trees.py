"""Penn Treebank brackets, the linear form, and the repair of linear forms that are no trees."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2t_lite.errors import UserError
from t2t_lite.evaluation.brackets import score_trees
from t2t_lite.problems.trees import Tree, bracketed, delinearise, linearise, parse, parse_counted, plain, split_words

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
        ("(S () (NN a))", "character 5: a constituent without a label"),
        ("( )", "character 3: a constituent without a label"),
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


def test_any_token_sequence_gives_a_tree_over_the_words():
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


def test_no_words_is_an_error():
    with pytest.raises(ValueError, match="at least one word"):
        delinearise("(S NN )S", [])


def test_endless_opening_brackets_give_a_tree():
    """As an untrained network writes them."""
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


# Words as texts have them. Those that look like an escaped bracket cannot be told from one.
WORDS = st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda word: not set(word) & set(" \t\n\r\f\v") and not re.search("-?[LR][RSC]B-?", word)
)
LEAVES = st.builds(lambda tag, word: Tree(tag, (word,)), st.sampled_from(["DT", "NN", "XX", "-LRB-", ":"]), WORDS)
TREES = st.deferred(
    lambda: st.builds(
        lambda label, children: Tree(label, tuple(children)),
        st.sampled_from(["S", "NP", "ROOT", "WHNP-1"]),
        st.lists(LEAVES | TREES, min_size=1, max_size=4),
    )
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_any_tree_is_written_and_read_back(tree):
    assert parse(str(tree)) == tree
    words = tree.words()
    assert parse(bracketed(linearise(tree), " ".join(words))).words() == words


@pytest.mark.parametrize(
    "words",
    [["t(est)"], [":)"], ["(713)853-7041"], ["[1]", "{x}", "a[i]{(0)}"], ["(", "x", ")"], ["a\u00a0b", "c\u3000d"]],
)
def test_words_with_brackets_or_odd_spaces_are_read_back(words):
    answer = f"(S {'NN ' * len(words)})S"
    written = bracketed(answer, " ".join(words))
    assert parse(written).words() == words == plain(parse(written)).words()
    assert linearise(parse(written)) == " ".join(answer.split())
    assert set("()[]{}") & set(re.sub(r"\((S|NN)|\)", "", written)) == set()


@pytest.mark.parametrize(
    ("brackets", "expected"),
    [
        ("( (S (NN a)) (S (NN b)) )", "(ROOT (S (NN a)) (S (NN b)))"),
        ("( (S (NN a)) (. .) )", "(ROOT (S (NN a)) (. .))"),
        ("(((S (NN a))))", "(S (NN a))"),
        ("(S ((NP (NN a))) (. .))", "(S (NP (NN a)) (. .))"),
        ("(S ((NP (NN a)) (VP (VB b))) (. .))", "(S (NP (NN a)) (VP (VB b)) (. .))"),
        ("( ( (S (NN a)) (S (NN b)) ) )", "(ROOT (S (NN a)) (S (NN b)))"),
        ("(S (DT the) cat)", "(S (DT the) (XX cat))"),
        ("(S (NN the cat))", "(S (NN (XX the) (XX cat)))"),
        ("(S (NP the cat) (VP sleeps))", "(S (NP (XX the) (XX cat)) (VP (XX sleeps)))"),
        ("(S (NP-SBJ John) (VP runs fast))", "(S (NP-SBJ (XX John)) (VP (XX runs) (XX fast)))"),
        ("( (S (NN a)) . )", "(ROOT (S (NN a)) (XX .))"),
    ],
)
def test_trees_as_treebanks_have_them(brackets, expected):
    assert str(parse(brackets)) == expected
    tree, untagged = parse_counted(brackets)
    assert untagged == expected.count("(XX") and parse(str(tree)) == tree
    assert delinearise(linearise(tree), tree.words()) == tree


def test_words_without_a_tag_do_not_nest_deeper_than_is_read():
    for depth in (98, 99, 100):
        brackets = "(S " * depth + "a b" + ")" * depth
        if depth < 100:
            assert parse(str(parse(brackets))) == parse(brackets)
        else:
            with pytest.raises(UserError, match="more than 100 brackets"):
                parse(brackets)
