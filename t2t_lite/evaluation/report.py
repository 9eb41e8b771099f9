"""Formats the tables of scores that t2t-eval and t2t-trainer print."""

from collections.abc import Iterator, Mapping
from typing import Any

# Tables: a title, and {metric: (heading, format)} in the order of the columns. Tables, rows and columns without scores
# are left out. The tables of the eight problems fit into 80 columns.
_TABLES = (
    (
        "teacher-forced: each token predicted from the reference before it, a class from its input",
        {
            "examples": ("examples", "{:d}"),
            "loss": ("loss", "{:.3f}"),
            "log_perplexity": ("log ppl", "{:.3f}"),
            "accuracy": ("accuracy", "{:.1%}"),
            "accuracy_top5": ("top 5", "{:.1%}"),
            "accuracy_per_sequence": ("per sequence", "{:.1%}"),
        },
    ),
    (
        "decoded: the model's own answers",
        {
            "bleu": ("BLEU", "{:.1f}"),
            "chrf": ("chrF", "{:.1f}"),
            "cider_d": ("CIDEr-D", "{:.2f}"),
            "wer": ("WER", "{:.1%}"),
            "cer": ("CER", "{:.1%}"),
            "accuracy_trees": ("trees", "{:.1%}"),
            "bracket_f1": ("brackets", "{:.1%}"),
            "complete_match": ("match", "{:.1%}"),
        },
    ),
)
_WARNINGS = {"answers_cut": "reached the length limit", "answers_empty": "empty"}
_SIGNATURES = {"bleu_signature": "BLEU", "chrf_signature": "chrF"}
_NOT_SHOWN = {"bracket_precision", "bracket_recall", "too_long", "answers"}
_KNOWN = {*_TABLES[0][1], *_TABLES[1][1], *_WARNINGS, *_SIGNATURES, *_NOT_SHOWN}

_Scores = Mapping[str, Mapping[str, Any]]  # {problem: {metric: value}}


def format_report(scores: Mapping[str, Any]) -> str:
    """Formats a table of teacher-forced and one of decoded scores, with a row per problem; warnings; signatures.

    Args:
      scores: scores of a run: {"step": N, "problems": {name: {metric: value}}}.
    """
    problems: _Scores = scores["problems"]
    parts = [*_tables(problems), _warnings(problems), _signatures(problems)]
    return "\n\n".join("\n".join(lines) for lines in ([f"step {scores['step']}"], *parts) if lines)


def format_comparison(before: _Scores, after: _Scores, headings: tuple[str, str]) -> str:
    """Formats the scores of two models side by side, with a row per metric.

    Args:
      before: {problem: {metric: value}} of one model.
      after: the same of the other.
      headings: the headings of their columns.
    """
    rows = [["problem", "figure", *headings]]
    for name, scores in before.items():
        for _, columns in _TABLES:
            for key, (heading, template) in columns.items():
                if key in scores and key not in ("examples", "log_perplexity"):  # log_perplexity equals the loss
                    rows.append([name, heading, *(template.format(each[name][key]) for each in (before, after))])
    return "\n".join(_columns(rows))


def _tables(problems: _Scores) -> Iterator[list[str]]:
    # Scores of the user's own metrics follow the decoded ones.
    own = {
        key: (key, "{:.3f}")
        for scores in problems.values()
        for key, value in scores.items()
        if key not in _KNOWN and isinstance(value, float)
    }
    teacher_forced, (decoded_title, decoded) = _TABLES
    for title, columns in (teacher_forced, (decoded_title, decoded | own)):
        scored = {name: scores for name, scores in problems.items() if not columns.keys().isdisjoint(scores)}
        shown = [key for key in columns if any(key in scores for scores in scored.values())]
        heading = ["problem", *(columns[key][0] for key in shown)]
        rows = [
            [name, *(columns[key][1].format(scores[key]) if key in scores else "" for key in shown)]
            for name, scores in scored.items()
        ]
        if rows:
            yield [title, *_columns([heading, *rows])]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return lines


def _warnings(problems: _Scores) -> list[str]:
    """A line for each problem with answers that were cut or empty, or with examples that were too long."""
    lines = []
    for name, scores in problems.items():
        warnings = [f"{scores[key]:,} {warning}" for key, warning in _WARNINGS.items() if scores.get(key)]
        if warnings:
            lines.append(f"{name}: of {scores.get('answers', scores['examples']):,} answers {', '.join(warnings)}")
        if scores.get("too_long"):
            lines.append(f"{name}: {scores['too_long']:,} examples of the split are longer than the maximum and cut")
    return lines


def _signatures(problems: _Scores) -> list[str]:
    """A line for each different signature of sacrebleu."""
    names = {scores[key]: name for scores in problems.values() for key, name in _SIGNATURES.items() if key in scores}
    return [f"{name}: sacrebleu {signature}" for signature, name in names.items()]
