"""The figures of two models side by side, and what the report says beside its tables."""

from t2t_lite.evaluation.report import format_comparison, format_report


def test_a_row_a_figure_without_the_number_of_examples_and_the_loss_again():
    before = {
        "reverse": {"examples": 9, "loss": 2.0, "log_perplexity": 2.0, "accuracy": 0.5, "wer": 0.75},
        "shapes": {"examples": 9, "loss": 1.0, "accuracy": 0.25},
    }
    after = {
        "reverse": {"examples": 9, "loss": 1.5, "log_perplexity": 1.5, "accuracy": 1.0, "wer": 0.5},
        "shapes": {"examples": 9, "loss": 0.875, "accuracy": 0.5},
    }
    assert format_comparison(before, after, ("step 3", "average")).splitlines() == [
        "problem    figure  step 3  average",
        "reverse      loss   2.000    1.500",
        "reverse  accuracy   50.0%   100.0%",
        "reverse       WER   75.0%    50.0%",
        "shapes       loss   1.000    0.875",
        "shapes   accuracy   25.0%    50.0%",
    ]


def test_every_fault_and_every_signature_has_a_line():
    figures = {"examples": 1200, "bleu": 1.0, "bleu_signature": "x", "chrf": 2.0, "chrf_signature": "y"}
    faults = {"answers_cut": 1100, "answers_empty": 2, "too_long": 3000}
    text = format_report({"step": 1, "problems": {"a": figures | faults, "b": figures}})
    *_, faulty, signatures = text.split("\n\n")
    assert faulty.splitlines() == [
        "a: of 1,200 answers 1,100 reached the length limit, 2 empty",
        "a: 3,000 examples of the split are longer than the maximum and cut",
    ]
    assert signatures.splitlines() == ["BLEU: sacrebleu x", "chrF: sacrebleu y"]
