"""The tables of scores."""

from t2t_lite.evaluation.report import format_report

SCORES = {
    "step": 30,
    "problems": {
        "reverse": {
            "examples": 12,
            "loss": 0.5,
            "accuracy": 0.875,
            "wer": 0.25,
            "bleu_signature": "s",
            "answers_cut": 3,
            "answers_empty": 0,
        },
        "shapes": {"examples": 7, "loss": 1.25, "accuracy": 0.5, "accuracy_top5": 1.0},
    },
}


def test_teacher_forced_and_decoded_scores_have_tables_of_their_own():
    parts = [part.splitlines() for part in format_report(SCORES).split("\n\n")]
    (step,), (forced, *table), (decoded, *decoded_table), cut, signatures = parts
    assert step == "step 30"
    assert forced.startswith("teacher-forced: ") and decoded.startswith("decoded: ")
    # A row a problem, and only columns that are there.
    assert table == [
        "problem  examples   loss  accuracy   top 5",
        "reverse        12  0.500     87.5%",
        "shapes          7  1.250     50.0%  100.0%",
    ]
    assert decoded_table == ["problem    WER", "reverse  25.0%"]
    assert cut == ["reverse: of 12 answers 3 reached the length limit"]
    assert signatures == ["BLEU: sacrebleu s"]


def test_without_decoded_scores_there_is_no_second_table():
    text = format_report({"step": 1, "problems": {"shapes": SCORES["problems"]["shapes"]}})
    assert "decoded" not in text and "teacher-forced" in text


def test_all_scores_of_eight_problems_fit_into_80_columns():
    """Terminals break the rows of a wider table."""
    shares = ["wer", "cer", "accuracy_trees", "bracket_f1", "complete_match", "accuracy", "accuracy_top5"]
    figures = dict.fromkeys([*shares, "accuracy_per_sequence"], 0.999) | dict.fromkeys(["bleu", "chrf"], 99.9)
    figures |= {"examples": 4000, "loss": 10.0, "log_perplexity": 10.0, "cider_d": 10.0}
    (_, _, *forced), (_, *decoded) = (
        part.splitlines()
        for part in format_report({"step": 1, "problems": {"microworld_ende_rev": figures}}).split("\n\n")[1:]
    )
    assert max(map(len, [*forced, *decoded])) <= 80
