"""Metrics of decoded text, compared with examples worked by hand."""

import numpy as np
import pytest
from reference import dense_cider_d

from t2t_lite.bin import bleu as bleu_command
from t2t_lite.errors import UserError
from t2t_lite.evaluation import brackets, cider, metrics
from t2t_lite.problems import Label, Problem, Text


def test_bleu_of_a_perfect_answer_is_100():
    figures = metrics.bleu(["the cat sat on the mat"], ["the cat sat on the mat"])
    assert figures["bleu"] == pytest.approx(100)
    assert "tok:13a" in figures["bleu_signature"]


def test_bleu_worked_by_hand():
    # Of 6 words: precisions 5/6, 4/5, 3/4, 2/3 (the last word differs), no brevity penalty.
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert metrics.bleu(["a b c d e x"], ["a b c d e f"])["bleu"] == pytest.approx(expected)


def test_bleu_is_of_the_corpus_and_penalizes_short_answers():
    # All four precisions are 1; 8 words answer 10: the brevity penalty is exp(1 - 10/8).
    figures = metrics.bleu(["a b c d", "e f g h"], ["a b c d", "e f g h i j"])
    assert figures["bleu"] == pytest.approx(100 * 2.718281828 ** (1 - 10 / 8))


def test_wer_counts_substitutions_deletions_insertions():
    # One word wrong, one missing, one too many, of 4 + 2 + 4 words.
    answers, references = ["a b c x", "a", "a b c d e"], ["a b c d", "a b", "a b c d"]
    assert metrics.wer(answers, references)["wer"] == pytest.approx(3 / 10)


def test_wer_ignores_spacing_and_accepts_empty_strings():
    assert metrics.wer([" a  b "], ["a b"])["wer"] == 0
    assert metrics.wer([""], ["a b"])["wer"] == 1
    assert metrics.wer([""], [""])["wer"] == 0
    assert metrics.wer(["a"], [""])["wer"] == 1


def test_cer_counts_characters():
    # One character wrong, two missing, of 7 with the blank.
    assert metrics.cer(["abx d"], ["abc def"])["cer"] == pytest.approx(3 / 7)
    assert metrics.cer([" abc \n def"], ["abc def"])["cer"] == 0
    assert metrics.cer([""], [""])["cer"] == 0
    assert metrics.cer(["a"], [""])["cer"] == 1


def test_chrf_worked_by_hand():
    figures = metrics.chrf(["abcdef"], ["abcdeg"])
    # Of n characters each: 5/6, 4/5, 3/4, 2/3, 1/2, 0/1, precision and recall alike.
    assert figures["chrf"] == pytest.approx(100 * (5 / 6 + 4 / 5 + 3 / 4 + 2 / 3 + 1 / 2) / 6)
    assert "nc:6|nw:0" in figures["chrf_signature"]
    assert metrics.chrf(["the cat"], ["the cat"])["chrf"] == pytest.approx(100)


class TestTrees:
    """Worked by hand by evalb's rules (COLLINS.prm). The reference has the brackets S 0-4, A 0-1, B 1-4, A 2-4."""

    reference = "(S (A P )A (B Q (A R T )A )B )S"

    @pytest.mark.parametrize(
        "answer,shared,found",
        [
            ("(S (A P )A (B Q (A R T )A )B )S", 4, 4),
            ("(S (A P )A (B Q (C R T )C )B )S", 3, 4),  # a label
            ("(S (A P )A (B Q (A R U )A )B )S", 4, 4),  # tags do not count
            ("(S (A P )A (B Q R (A T )A )B )S", 3, 4),  # a span
            ("(S (A P Q )A (A R T )A )S", 2, 3),  # crossing
            ("(S (A P )A (B Q (A R T )A )B", 4, 4),  # closed at the end
            ("(S (A P )A (B Q (A R T T T )A )B )S", 4, 4),  # tags too many are dropped
            ("(S (A P )A (B Q )B )S", 2, 3),  # two words are missing: they hang under S
            ("(S (S (A P )A (B Q (A R T )A )B )S )S", 4, 5),  # a doubled bracket counts once
            ("(TOP (S (A P )A (B Q (A R T )A )B )S )TOP", 4, 4),
            ("(S-HLN (A=2 P )A=2 (B-PRD-1 Q (A R T )A )B-PRD-1 )S-HLN", 4, 4),
            ("", 1, 1),  # all words under S
        ],
    )
    def test_brackets(self, answer, shared, found):
        figures = metrics.tree([answer], [self.reference])
        assert figures["bracket_precision"] == pytest.approx(shared / found)
        assert figures["bracket_recall"] == pytest.approx(shared / 4)
        assert figures["bracket_f1"] == pytest.approx(2 * shared / (found + 4))
        assert figures["complete_match"] == float(shared == found == 4)

    def test_punctuation_and_traces_are_ignored(self):
        # S 0-3, NP 0-1, VP 1-3, NP 2-3; the NP over the trace holds nothing.
        reference = "(S `` (NP NN )NP , (VP VB (NP NN )NP (NP -NONE- )NP )VP '' . )S"
        _, theirs = brackets.brackets_of(reference, reference)
        assert theirs == {("S", 0, 3): 1, ("NP", 0, 1): 1, ("VP", 1, 3): 1, ("NP", 2, 3): 1}
        # The full stop inside the VP, and the comma inside the NP, change no span.
        moved = "(S `` (NP NN , )NP (VP VB (NP NN )NP (NP -NONE- )NP '' . )VP )S"
        figures = metrics.tree([moved], [reference])
        assert figures["complete_match"] == 1.0 and figures["bracket_f1"] == 1.0
        assert figures["accuracy_trees"] == 0.0

    def test_marks_other_than_full_stops_count(self):
        theirs, _ = brackets.brackets_of("(S (NP -LRB- NN -RRB- $ )NP . )S", "(S (NP -LRB- NN -RRB- $ )NP . )S")
        assert theirs == {("S", 0, 4): 1, ("NP", 0, 4): 1}

    def test_advp_and_prt_are_one_label(self):
        figures = metrics.tree(["(S (VP VB (ADVP RP )ADVP )VP )S"], ["(S (VP VB (PRT RP )PRT )VP )S"])
        assert figures["complete_match"] == 1.0

    def test_scores_are_of_all_sentences_together(self):
        # 4 of 4 and 2 of 3 found, of 4 + 4 in the references.
        answers = [self.reference, "(S (A P Q )A (A R T )A )S"]
        figures = metrics.tree(answers, [self.reference] * 2)
        assert figures["bracket_precision"] == pytest.approx(6 / 7)
        assert figures["bracket_recall"] == pytest.approx(6 / 8)
        assert figures["bracket_f1"] == pytest.approx(12 / 15)
        assert figures["complete_match"] == 0.5

    def test_tree_accuracy_is_of_exact_matches(self):
        answers = ["(S (NP NN )NP )S", "(S (NP NN )NP )S", "(S  (VP VB )VP )S"]
        references = ["(S (NP NN )NP )S", "(S (NP NNS )NP )S", "(S (VP VB )VP )S"]
        assert metrics.tree(answers, references)["accuracy_trees"] == pytest.approx(2 / 3)


class TestCiderD:
    references = ("A red cat sleeps.", "a blue dog runs")

    def test_worked_by_hand(self):
        # "a" is everywhere and counts nothing; all else weighs log 2. Unigrams: 2 shared of 3 and 3, cosine 2/3;
        # bigrams: 1 of 3 and 3, 1/3; longer ones: none.
        scores = cider.cider_d(["a red dog sleeps", "a blue dog runs"], [[r] for r in self.references])
        assert scores == pytest.approx([10 * (2 / 3 + 1 / 3) / 4, 10])
        figures = metrics.cider_d(["a red dog sleeps", "a blue dog runs"], self.references)
        assert figures == {"cider_d": pytest.approx((2.5 + 10) / 2)}

    def test_equals_the_reference_tool(self):
        # Figures of pycocoevalcap 1.2, Cider().compute_score.
        references = [
            ["a red cat sleeps on the mat", "the cat sleeps"],
            ["a blue dog runs under a tree"],
            ["two birds sit on a red roof"],
        ]
        answers = ["a red cat sleeps on a mat", "a dog runs runs", "birds sit on the red roof"]
        assert cider.cider_d(answers, references) == pytest.approx([4.183432, 1.402513, 3.899311])

    def test_length_is_penalized_and_repetition_clipped(self):
        # "red" three times: its entry 3 log 2 is cut to log 2; the cosine of unigrams is 1 / (3 sqrt 3).
        (score, _) = cider.cider_d(["red red red", ""], [[r] for r in self.references])
        assert score == pytest.approx(10 / 4 / (3 * 3**0.5) * np.exp(-1 / 72))

    def test_equals_dense_vectors(self):
        draw = np.random.default_rng(0)
        words = np.array(["a", "the", "red", "cat", "dog", "runs"])
        references = [[" ".join(draw.choice(words, draw.integers(1, 9))) for _ in range(3)] for _ in range(6)]
        answers = [" ".join(draw.choice(words, draw.integers(1, 9))) for _ in range(6)]
        assert cider.cider_d(answers, references) == pytest.approx(dense_cider_d(answers, references))

    def test_an_empty_answer_and_a_single_picture(self):
        assert cider.cider_d(["", "x"], [["a b"], ["c d"]]) == [0, 0]
        assert cider.cider_d(["a b"], [["a b"]]) == [0]
        assert metrics.cider_d([], []) == {"cider_d": 0}


class TestBleuCommand:
    def files(self, tmp_path, translation, reference):
        (tmp_path / "t").write_bytes(translation)
        (tmp_path / "r").write_bytes(reference)
        return bleu_command.main([f"--translation={tmp_path}/t", f"--reference={tmp_path}/r"])

    def test_scores_two_files_with_signatures(self, tmp_path, capsys):
        # U+2028 within a line ends none.
        text = "a b c d e x\r\none two\u2028three four\n".encode()
        assert self.files(tmp_path, text, b"a b c d e f\none two three four") == 0
        bleu, chrf = capsys.readouterr().out.splitlines()
        expected = metrics.bleu(["a b c d e x", "one two\u2028three four"], ["a b c d e f", "one two three four"])
        assert bleu == f"BLEU = {expected['bleu']:.2f}  {expected['bleu_signature']}"
        assert chrf.startswith("chrF2 = ") and "nrefs:1" in chrf

    @pytest.mark.parametrize(
        "translation,reference,message",
        [
            (b"a\nb\n", b"a\n", "--translation has 2 lines and --reference 1: they must be aligned by line"),
            (b"", b"", "no lines to score"),
            (b"\xff\n", b"a\n", "t: not UTF-8 text"),
        ],
    )
    def test_files_that_cannot_be_scored_are_refused(self, tmp_path, capsys, translation, reference, message):
        assert self.files(tmp_path, translation, reference) == 1
        assert message in capsys.readouterr().err

    def test_a_missing_file_is_named(self, tmp_path, capsys):
        assert bleu_command.main([f"--translation={tmp_path}/t", f"--reference={tmp_path}/r"]) == 1
        assert f"--translation: no file '{tmp_path}/t'" in capsys.readouterr().err


def test_score_merges_metrics_and_refuses_different_numbers_of_texts():
    figures = metrics.score(["wer", "cer"], ["a"], ["a"])
    assert figures == {"wer": 0.0, "cer": 0.0}
    with pytest.raises(ValueError, match="1 answers, but 2 references"):
        metrics.score(["wer"], ["a"], ["a", "b"])


def test_a_problem_with_a_wrong_metric_is_refused():
    problem = Problem("mine")
    problem.targets, problem.metrics = Text(), ("wer", "blue")
    with pytest.raises(UserError, match="problem 'mine': unknown metric 'blue'; did you mean 'bleu'"):
        metrics.check(problem)
    problem.targets, problem.metrics = Label(("a", "b")), ("wer",)
    with pytest.raises(UserError, match="problem 'mine': metrics need text targets"):
        metrics.check(problem)
