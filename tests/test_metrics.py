"""Metrics of decoded text against worked examples."""

import pytest

from t2t_lite.evaluation import metrics


def test_bleu_of_a_perfect_answer_is_100():
    figures = metrics.bleu(["the cat sat on the mat"], ["the cat sat on the mat"])
    assert figures["bleu"] == pytest.approx(100)
    assert "tok:13a" in figures["bleu_signature"]


def test_bleu_worked_by_hand():
    # Of 6 words: precisions 5/6, 4/5, 3/4, 2/3 (the last word differs), no brevity penalty.
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert metrics.bleu(["a b c d e x"], ["a b c d e f"])["bleu"] == pytest.approx(expected)


def test_bleu_is_of_the_corpus_and_punishes_short_answers():
    # All four precisions are 1; 8 words answer 10: the brevity penalty is exp(1 - 10/8).
    figures = metrics.bleu(["a b c d", "e f g h"], ["a b c d", "e f g h i j"])
    assert figures["bleu"] == pytest.approx(100 * 2.718281828 ** (1 - 10 / 8))


def test_wer_counts_substitutions_deletions_insertions():
    # One word wrong, one missing, one too many, of 4 + 2 + 4 words.
    answers, references = ["a b c x", "a", "a b c d e"], ["a b c d", "a b", "a b c d"]
    assert metrics.wer(answers, references)["wer"] == pytest.approx(3 / 10)


def test_wer_ignores_spacing_and_survives_empty_strings():
    assert metrics.wer([" a  b "], ["a b"])["wer"] == 0
    assert metrics.wer([""], ["a b"])["wer"] == 1
    assert metrics.wer([""], [""])["wer"] == 0
    assert metrics.wer(["a"], [""])["wer"] == 1


def test_tree_accuracy_is_of_whole_trees():
    answers = ["(S (NP ) (VP ) )", "(S (NP ) )", "(S  (VP ) )"]
    references = ["(S (NP ) (VP ) )", "(S (VP ) )", "(S (VP ) )"]
    assert metrics.tree(answers, references)["accuracy_trees"] == pytest.approx(2 / 3)


def test_score_merges_and_refuses_what_does_not_fit():
    figures = metrics.score(["wer", "tree"], ["a"], ["a"])
    assert figures == {"wer": 0.0, "accuracy_trees": 1.0}
    with pytest.raises(ValueError, match="1 answers to 2 references"):
        metrics.score(["wer"], ["a"], ["a", "b"])
    with pytest.raises(ValueError, match="unknown metric 'blue'"):
        metrics.score(["blue"], ["a"], ["a"])
