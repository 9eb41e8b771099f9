"""Tables, claims and transfer matrices of an experiment's results.json (docs/experiments.md)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2t_lite.progress import format_seconds
from t2t_lite.report import figures, svg
from t2t_lite.report.html import Html, element, join, scroll, table

_FORMATS = {"nats": "{:.2f}", "percent": "{:.0%}", "integer": "{:,.0f}", "number": "{:.4g}"}
_WITHIN = "within the spread"


def draw_results(results: Mapping[str, Any]) -> Html:
    """Returns the rule of comparison, all tables and matrices, the notes on runs that are missing, and all runs."""
    rule = element("p", results["spread_rule"], class_="hint")
    panels = [*map(_draw_table, results["tables"]), *map(_draw_matrix, results["transfer"])]
    runs = results["runs"]
    summary = element("summary", f"All {len(runs):,} runs" if len(runs) > 1 else "The run")
    panels.append(element("details", summary, _draw_runs(runs)))
    return join(rule, panels, [element("p", note, class_="note") for note in results["notes"]])


def describe_results(results: Mapping[str, Any]) -> Html:
    """Returns how the results were made: settings, seeds, time, machine, versions."""
    settings, machine = results["settings"], results["machine"]
    parts = [f"{key.replace('_', ' ')} {_listed(value)}" for key, value in settings.items() if value != ""]
    time, where = format_seconds(results["seconds"]), ", ".join([machine["processor"], machine["system"]])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"Settings: {'; '.join(parts)}.",
        f"Training and scoring took {time}, summed over the runs; the machine has {machine['cores']} cores ({where}).",
        f"Trained with {versions}.",
    ]
    return join([element("p", line) for line in lines])


def labels(results: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns {problem: its label in the results}."""
    return {name: about["label"] for name, about in results["problems"].items()} if results else {}


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _draw_claim(claim: Mapping[str, str]) -> Html:
    kind = {"holds": "verdict right", "fails": "verdict wrong"}.get(claim["verdict"], "verdict")
    paper = element("p", element("b", "Claim: "), claim["paper"])
    return join(paper, element("p", element("b", "Here: "), claim["sentence"], class_=kind))


def _draw_comparisons(comparisons: Sequence[Mapping[str, Any]]) -> Html | None:
    if not comparisons:
        return None
    items = element("ul", [element("li", each["sentence"]) for each in comparisons])
    return element("details", element("summary", f"Comparisons ({len(comparisons)})"), items)


def _draw_table(stored: Mapping[str, Any]) -> Html:
    number, columns = stored["paper_table"], stored["columns"]
    cited = f"The paper's table {number}; its figures stand below ours." if number else None
    lines = [
        [row["label"], *(_draw_cell(*each) for each in zip(row["cells"], columns, strict=True))]
        for row in stored["rows"]
    ]
    return element(
        "section",
        element("h3", stored["title"]),
        element("p", cited, class_="hint") if cited else None,
        _draw_claim(stored["claim"]),
        table(["", *(column["label"] for column in columns)], lines),
        _draw_comparisons(stored["comparisons"]),
        class_="panel",
    )


def _draw_cell(cell: Mapping[str, Any] | None, column: Mapping[str, str]) -> Html:
    """Returns mean and standard deviation, and the paper's figure below; the values of the seeds on hovering."""
    if cell is None:
        return join("-")
    values = [_format(value, column) for value in cell["values"] if value is not None]
    paper = cell["paper"]
    cited = None if paper is None else element("small", f"paper {_format(paper, column)}", class_="paper")
    return element("span", cell["text"], cited, title=", ".join(values) or None)


def _format(value: float, column: Mapping[str, str]) -> str:
    template = _FORMATS.get(column["format"])
    return template.format(value) if template else figures.number(value)


def _draw_matrix(stored: Mapping[str, Any]) -> Html:
    """Returns what each target gains from each other problem, as a heat map."""
    rows, columns = ([each["label"] for each in stored[key]] for key in ("targets", "sources"))
    means = np.full([len(rows), len(columns)], math.nan)
    texts, below = ([[""] * len(columns) for _ in rows] for _ in range(2))
    for r, line in enumerate(stored["gains"]):
        for c, cell in enumerate(line):
            if cell and cell["mean"] is not None:
                means[r, c] = cell["mean"]
                texts[r][c] = f"{means[r, c]:+.3f}" if cell["verdict"] != _WITHIN else f"({means[r, c]:+.3f})"
                below[r][c] = "" if cell["spread"] is None else f"±{cell['spread']:.3f}"
    body: Any = element("p", "It has no figures yet.", class_="missing")
    if np.isfinite(means).any():
        label = "What each problem gains from each other problem"
        body = scroll(svg.heat_map(means, rows, columns, label, texts=texts, below=below, signed=True))
    hint = (
        "Rows: the problem that gains (above 0, violet) or loses (below 0, red), in nats of log-perplexity. Columns: "
    )
    hint += "the other problem. In brackets: within the spread."
    return element(
        "section",
        element("h3", stored["title"]),
        _draw_claim(stored["claim"]),
        element("p", hint, class_="hint"),
        body,
        _draw_comparisons(stored["comparisons"]),
        class_="panel",
    )


def _draw_runs(runs: Sequence[Mapping[str, Any]]) -> Html:
    heading = ["run", "seed", "steps", "parameters", "time", "status"]
    rows = [
        [
            run["name"],
            run["seed"],
            *(f"{run[key]:,}" for key in ("train_steps", "parameters")),
            format_seconds(run["seconds"]),
            run["status"],
        ]
        for run in runs
    ]
    return table(heading, rows)
