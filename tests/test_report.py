"""The table of scores."""

import io

from t2t_lite.evaluation.report import print_report

SCORES = {
    "step": 30,
    "problems": {
        "reverse": {"examples": 12, "loss": 0.5, "accuracy": 0.875, "wer": 0.25, "bleu_signature": "s"},
        "shapes": {"examples": 7, "loss": 1.25, "accuracy": 0.5},
    },
}


def test_plain_text_has_a_row_a_problem_and_only_columns_that_are_there():
    out = io.StringIO()
    print_report(SCORES, out)
    step, heading, *rows = out.getvalue().splitlines()
    assert step == "step 30"
    assert heading.split() == ["problem", "examples", "loss", "accuracy", "WER"]
    assert [row.split() for row in rows] == [
        ["reverse", "12", "0.500", "87.5%", "25.0%"],
        ["shapes", "7", "1.250", "50.0%"],
    ]


def test_a_terminal_gets_a_table():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    print_report(SCORES, out)
    assert "reverse" in out.getvalue() and "─" in out.getvalue()
