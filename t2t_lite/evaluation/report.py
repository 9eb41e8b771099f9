"""The table of scores that t2t-eval and the trainer print."""

import sys
from typing import Any, TextIO

# Heading and format of each figure, in the order of the columns; a column is shown where a problem has the figure.
_COLUMNS = {
    "examples": ("examples", "{:d}"),
    "loss": ("loss", "{:.3f}"),
    "log_perplexity": ("log ppl", "{:.3f}"),
    "accuracy": ("accuracy", "{:.1%}"),
    "accuracy_top5": ("top 5", "{:.1%}"),
    "accuracy_per_sequence": ("per sequence", "{:.1%}"),
    "bleu": ("BLEU", "{:.1f}"),
    "wer": ("WER", "{:.1%}"),
    "accuracy_trees": ("trees", "{:.1%}"),
}


def print_report(scores: dict[str, Any], file: TextIO | None = None) -> None:
    """Prints one row a problem: a table on a terminal, plain columns elsewhere.

    Args:
      scores: what `evaluate_run` returns: {"step": N, "problems": {name: {figure: value}}}.
      file: where to; standard output unless given.
    """
    file = file or sys.stdout
    title, heading, rows = _cells(scores)
    if file.isatty():
        _print_table(title, heading, rows, file)
    else:
        print(_plain(title, heading, rows), file=file)


def format_report(scores: dict[str, Any]) -> str:
    """The same as plain columns."""
    return _plain(*_cells(scores))


def _cells(scores: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    """Title, heading and rows."""
    shown = [c for c in _COLUMNS if any(c in figures for figures in scores["problems"].values())]
    heading = ["problem", *(_COLUMNS[c][0] for c in shown)]
    rows = [
        [name, *(_COLUMNS[c][1].format(figures[c]) if c in figures else "" for c in shown)]
        for name, figures in scores["problems"].items()
    ]
    return f"step {scores['step']}", heading, rows


def _print_table(title: str, heading: list[str], rows: list[list[str]], file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column, name in enumerate(heading):
        table.add_column(name, justify="right" if column else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(file=file).print(table)


def _plain(title: str, heading: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    lines = [title]
    for first, *others in [heading, *rows]:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
