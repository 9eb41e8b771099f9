"""The table of scores that t2t-eval and the trainer print."""

import sys
from collections.abc import Iterator
from typing import Any, TextIO

# Tables: a title, and heading and format of each figure in the order of the columns. A column, a row and a table are
# shown where there is a figure.
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
            "accuracy_trees": ("whole trees", "{:.1%}"),
            "bracket_f1": ("bracket F1", "{:.1%}"),
            "complete_match": ("complete match", "{:.1%}"),
            "answers_cut": ("cut at the limit", "{:d}"),
        },
    ),
)
_SIGNATURES = ("bleu_signature", "chrf_signature")

_Table = tuple[str, list[str], list[list[str]]]  # title, heading, rows


def print_report(scores: dict[str, Any], file: TextIO | None = None) -> None:
    """Prints what is teacher-forced and what is decoded, a row a problem: tables on a terminal, else plain columns.

    Args:
      scores: what `evaluate_run` returns: {"step": N, "problems": {name: {figure: value}}}.
      file: where to; standard output unless given.
    """
    file = file or sys.stdout
    if not file.isatty():
        print(format_report(scores), file=file)
        return
    print(f"step {scores['step']}", file=file)
    for table in _tables(scores):
        _print_table(*table, file)
    for line in _signatures(scores):
        print(line, file=file)


def format_report(scores: dict[str, Any]) -> str:
    """The same as plain columns."""
    tables = ["\n".join(["", title, *_plain(heading, rows)]) for title, heading, rows in _tables(scores)]
    return "\n".join([f"step {scores['step']}", *tables, *_signatures(scores)])


def _tables(scores: dict[str, Any]) -> Iterator[_Table]:
    for title, columns in _TABLES:
        problems = {name: f for name, f in scores["problems"].items() if not columns.keys().isdisjoint(f)}
        shown = [c for c in columns if any(c in figures for figures in problems.values())]
        heading = ["problem", *(columns[c][0] for c in shown)]
        rows = [
            [name, *(columns[c][1].format(figures[c]) if c in figures else "" for c in shown)]
            for name, figures in problems.items()
        ]
        if rows:
            yield title, heading, rows


def _signatures(scores: dict[str, Any]) -> list[str]:
    """How sacrebleu computed its figures, each way once."""
    ways = {f[key]: key for f in scores["problems"].values() for key in _SIGNATURES if key in f}
    lines = [f"{'BLEU' if key.startswith('bleu') else 'chrF'}: sacrebleu {way}" for way, key in ways.items()]
    return ["", *lines] if lines else []


def _print_table(title: str, heading: list[str], rows: list[list[str]], file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column, name in enumerate(heading):
        table.add_column(name, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(file=file).print(table)


def _plain(heading: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = []
    for first, *others in [heading, *rows]:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return lines
