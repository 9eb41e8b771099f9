"""Tables, claims and transfer matrices of an experiment's results.json (docs/experiments.md).

Missing keys are left out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2t_lite.report import figures, svg
from t2t_lite.report.html import Html, element, join, scroll, table

_FORMATS = {"nats": "{:.2f}", "percent": "{:.0%}", "integer": "{:,.0f}", "number": "{:.4g}"}
_WITHIN = "within the spread"


def draw_results(results: Mapping[str, Any]) -> Html:
    """Returns all tables and matrices, the notes on runs that are missing, and the list of all runs."""
    panels = [_draw_table(each) for each in _mappings(results.get("tables"))]
    transfer = results.get("transfer")
    matrices = [transfer] if isinstance(transfer, Mapping) else _mappings(transfer)
    panels += [_draw_matrix(each) for each in matrices]
    notes = [element("p", note, class_="note") for note in results.get("notes") or ()]
    runs = _mappings(results.get("runs"))
    if runs:
        summary = element("summary", f"All {len(runs):,} runs" if len(runs) > 1 else "The run")
        panels.append(element("details", summary, _draw_runs(runs)))
    return join(panels, notes)


def describe_results(results: Mapping[str, Any]) -> Html:
    """Returns how the results were made: settings, seeds, time, machine, versions, the rule of comparison."""
    settings, machine = (_mapping(results.get(key)) for key in ("settings", "machine"))
    lines = []
    if settings:
        seeds = settings.get("seeds")
        shown = {**settings, "seeds": ", ".join(map(str, seeds)) if isinstance(seeds, list) else seeds}
        parts = [f"{key.replace('_', ' ')} {_listed(value)}" for key, value in shown.items() if value not in (None, "")]
        lines.append(f"Settings: {'; '.join(parts)}.")
    if figures.is_number(results.get("seconds")):
        where = [str(machine[key]) for key in ("processor", "system") if machine.get(key)]
        cores = f" on {machine['cores']} cores" if machine.get("cores") else ""
        lines.append(f"All runs took {figures.duration(results['seconds'])}{cores} ({', '.join(where)}).")
    versions = _mapping(results.get("versions"))
    if versions:
        lines.append(f"Trained with {', '.join(f'{name} {version}' for name, version in versions.items())}.")
    if results.get("spread_rule"):
        lines.append(str(results["spread_rule"]))
    return join([element("p", line) for line in lines])


def labels(results: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns {problem: its label in the results}."""
    problems = _mapping((results or {}).get("problems"))
    return {name: str(about["label"]) for name, about in problems.items() if _mapping(about).get("label")}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _draw_claim(stored: Mapping[str, Any]) -> Html | None:
    claim = stored.get("claim")
    if isinstance(claim, str):
        claim = {"paper": claim, "sentence": stored.get("verdict")}
    if not isinstance(claim, Mapping):
        return None
    paper = element("p", element("b", "Claim: "), claim["paper"]) if claim.get("paper") else None
    sentence = claim.get("sentence") or claim.get("verdict")
    kind = {"holds": "verdict right", "fails": "verdict wrong"}.get(str(claim.get("verdict")), "verdict")
    return join(paper, element("p", element("b", "Here: "), sentence, class_=kind) if sentence else None)


def _draw_comparisons(stored: Mapping[str, Any]) -> Html | None:
    sentences = [each["sentence"] for each in _mappings(stored.get("comparisons")) if each.get("sentence")]
    if not sentences:
        return None
    items = element("ul", [element("li", sentence) for sentence in sentences])
    return element("details", element("summary", f"Comparisons ({len(sentences)})"), items)


def _draw_table(stored: Mapping[str, Any]) -> Html:
    title = stored.get("title") or stored.get("name") or "Table"
    number = stored.get("paper_table")
    cited = f"The paper's table {number}; its figures stand below ours." if number else None
    rows = _mappings(stored.get("rows"))
    columns = [_mapping(column) or {"label": column} for column in stored.get("columns") or ()]
    width = max((len(_cells(row)) for row in rows), default=0)
    columns = [*columns, *[{}] * width][:width]
    lines = [
        [row.get("label", ""), *(_draw_cell(*each) for each in zip(_cells(row), columns, strict=False))] for row in rows
    ]
    heading = ["", *(column.get("label") or column.get("title") or column.get("name") or "" for column in columns)]
    return element(
        "section",
        element("h3", title),
        element("p", cited, class_="hint") if cited else None,
        _draw_claim(stored),
        table(heading, lines) if rows else element("p", "It has no rows yet.", class_="missing"),
        _draw_comparisons(stored),
        class_="panel",
    )


def _cells(row: Mapping[str, Any]) -> list[Any]:
    cells = row.get("cells") or ()
    return list(cells.values()) if isinstance(cells, Mapping) else list(cells)


def _draw_cell(cell: Any, column: Mapping[str, Any]) -> Html:
    """Returns mean and spread, and the paper's figure below; the values of the seeds on hovering."""
    if not isinstance(cell, Mapping):
        return join(_format(cell, column) if cell is not None else "-")
    values = [_format(value, column) for value in cell.get("values") or () if value is not None]
    shown = cell.get("text")
    if not shown:
        spread = f" ± {_format(cell['spread'], column)}" if figures.is_number(cell.get("spread")) else ""
        shown = _format(cell.get("mean"), column) + spread
    paper: Any = cell.get("paper")
    cited = None if paper is None else element("small", f"paper {_format(paper, column)}", class_="paper")
    return element("span", shown, cited, title=", ".join(values) or None)


def _format(value: Any, column: Mapping[str, Any]) -> str:
    if not figures.is_number(value):
        return "-" if value is None else str(value)
    template = _FORMATS.get(str(column.get("format")))
    return template.format(value) if template else figures.number(value)


def _draw_matrix(stored: Mapping[str, Any]) -> Html:
    """Returns what each target gains from each other problem, as a heat map."""
    rows, columns = (_names(stored.get(key)) for key in ("targets", "sources"))
    columns = columns or rows
    means = np.full([len(rows), len(columns)], math.nan)
    texts, below = ([[""] * len(columns) for _ in rows] for _ in range(2))
    for r, line in enumerate(_sequence(stored.get("gains"))[: len(rows)]):
        for c, cell in enumerate(_sequence(line)[: len(columns)]):
            about = _mapping(cell) or {"mean": cell}
            if figures.is_number(about.get("mean")):
                means[r, c] = about["mean"]
                texts[r][c] = f"{means[r, c]:+.3f}" if about.get("verdict") != _WITHIN else f"({means[r, c]:+.3f})"
                below[r][c] = f"±{about['spread']:.3f}" if figures.is_number(about.get("spread")) else ""
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
        element("h3", stored.get("title") or "Transfer"),
        _draw_claim(stored),
        element("p", hint, class_="hint"),
        body,
        _draw_comparisons(stored),
        class_="panel",
    )


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _names(values: Any) -> list[str]:
    return [str(_mapping(each).get("label") or _mapping(each).get("name") or each) for each in _sequence(values)]


def _draw_runs(runs: Sequence[Mapping[str, Any]]) -> Html:
    heading = ["run", "seed", "steps", "parameters", "time", "status"]
    rows = [
        [
            run.get("name", ""),
            run.get("seed", ""),
            *(f"{run[key]:,}" if figures.is_number(run.get(key)) else "-" for key in ("train_steps", "parameters")),
            figures.duration(run["seconds"]) if figures.is_number(run.get("seconds")) else "-",
            run.get("status", ""),
        ]
        for run in runs
    ]
    return table(heading, rows)
