"""The table of scores."""

import io

from t2t_lite.evaluation.report import format_report, print_report

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
        },
        "shapes": {"examples": 7, "loss": 1.25, "accuracy": 0.5},
    },
}


def test_plain_text_says_what_is_teacher_forced_and_what_is_decoded():
    out = io.StringIO()
    print_report(SCORES, out)
    parts = [part.splitlines() for part in out.getvalue().rstrip().split("\n\n")]
    (step,), (forced, heading, *rows), (decoded, decoded_heading, *decoded_rows), signatures = parts
    assert step == "step 30"
    assert forced.startswith("teacher-forced: ") and decoded.startswith("decoded: ")
    # A row a problem, and only columns that are there.
    assert heading.split() == ["problem", "examples", "loss", "accuracy"]
    assert [row.split() for row in rows] == [
        ["reverse", "12", "0.500", "87.5%"],
        ["shapes", "7", "1.250", "50.0%"],
    ]
    assert decoded_heading.split("  ") == ["problem", "  WER", "cut at the limit"]
    assert [row.split() for row in decoded_rows] == [["reverse", "25.0%", "3"]]
    assert signatures == ["BLEU: sacrebleu s"]


def test_nothing_decoded_is_no_table():
    text = format_report({"step": 1, "problems": {"shapes": SCORES["problems"]["shapes"]}})
    assert "decoded" not in text and "teacher-forced" in text


def test_a_terminal_gets_a_table():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    print_report(SCORES, out)
    assert "reverse" in out.getvalue() and "─" in out.getvalue()
    assert "teacher-forced" in out.getvalue() and "sacrebleu s" in out.getvalue()
