"""The tables of scores that t2t-eval and the trainer print."""

from collections.abc import Iterator, Mapping
from typing import Any

# Tables: a title, and heading and format of each figure in the order of the columns. A column, a row and a table are
# shown where there is a figure. The eight problems' tables fit into 80 columns.
_TABLES = (
    (
        "teacher-forced: each symbol predicted from the reference before it, a class from its input",
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
_FAULTS = {"answers_cut": "reached the length limit", "answers_empty": "empty"}
_SIGNATURES = {"bleu_signature": "BLEU", "chrf_signature": "chrF"}

_Figures = Mapping[str, Mapping[str, Any]]  # {problem: {figure: value}}


def format_report(scores: Mapping[str, Any]) -> str:
    """A table of what is teacher-forced and one of what is decoded, a row a problem; faults of answers; signatures.

    Args:
      scores: what `evaluate_run` returns: {"step": N, "problems": {name: {figure: value}}}.
    """
    problems: _Figures = scores["problems"]
    parts = [*_tables(problems), _faults(problems), _signatures(problems)]
    return "\n\n".join("\n".join(lines) for lines in ([f"step {scores['step']}"], *parts) if lines)


def format_comparison(before: _Figures, after: _Figures, headings: tuple[str, str]) -> str:
    """The figures of two models side by side, a row a figure.

    Args:
      before: {problem: {figure: value}} of the one.
      after: the same of the other.
      headings: what they are called.
    """
    rows = [["problem", "figure", *headings]]
    for name, figures in before.items():
        for _, columns in _TABLES:
            for key, (heading, shape) in columns.items():
                if key in figures and key not in ("examples", "log_perplexity"):  # the number, and the loss again
                    rows.append([name, heading, *(shape.format(each[name][key]) for each in (before, after))])
    return "\n".join(_columns(rows))


def _tables(problems: _Figures) -> Iterator[list[str]]:
    for title, columns in _TABLES:
        having = {name: figures for name, figures in problems.items() if not columns.keys().isdisjoint(figures)}
        shown = [c for c in columns if any(c in figures for figures in having.values())]
        heading = ["problem", *(columns[c][0] for c in shown)]
        rows = [
            [name, *(columns[c][1].format(figures[c]) if c in figures else "" for c in shown)]
            for name, figures in having.items()
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


def _faults(problems: _Figures) -> list[str]:
    """The problems of which an answer was cut or empty, or an example was too long."""
    lines = []
    for name, figures in problems.items():
        told = [f"{figures[key]:,} {what}" for key, what in _FAULTS.items() if figures.get(key)]
        if told:
            lines.append(f"{name}: of {figures['examples']:,} answers {', '.join(told)}")
        if figures.get("too_long"):
            lines.append(f"{name}: {figures['too_long']:,} examples of the split are longer than the maximum and cut")
    return lines


def _signatures(problems: _Figures) -> list[str]:
    """How sacrebleu computed its figures, each way once."""
    ways = {f[key]: name for f in problems.values() for key, name in _SIGNATURES.items() if key in f}
    return [f"{name}: sacrebleu {way}" for way, name in ways.items()]
