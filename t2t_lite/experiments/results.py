"""Writes the results of a suite: results.json, the contract with the page, and results.md, its tables as Markdown."""

import datetime
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import t2t_lite
from t2t_lite.data.manifest import write_atomically
from t2t_lite.experiments.outcome import FINISHED, Outcome
from t2t_lite.experiments.plan import Plan
from t2t_lite.experiments.statistics import RULE
from t2t_lite.experiments.tables import format_value, make_tables
from t2t_lite.json_text import json_text

FORMAT = 1
SPLIT = "test"
JSON, MARKDOWN = "results.json", "results.md"


def make_results(
    name: str,
    plan: Plan,
    settings: Mapping[str, Any],
    outcomes: Mapping[str, Outcome],
    data_dir: str = "data",
    asked: Collection[str] | None = None,
) -> dict[str, Any]:
    """Returns the contents of results.json; docs/experiments.md describes them.

    Args:
      name: the name of the suite.
      plan: its plan.
      settings: the settings of all its runs, as suite.json keeps them.
      outcomes: {name of a run: what became of it}.
      data_dir: the folder of the data, relative to that of the suite where it lies below it.
      asked: the runs of the plan that were asked for; all by default.
    """
    made = make_tables(plan, outcomes, plan.runs if asked is None else asked)
    return {
        "format": FORMAT,
        "suite": name,
        "description": plan.suite.__doc__,
        "complete": all(run["status"] in (FINISHED, "diverged") for run in made["runs"]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(sum(run["seconds"] for run in made["runs"]), 1),
        "settings": {**settings, **plan.request, "split": SPLIT},
        "spread_rule": RULE,
        "versions": _versions(),
        "machine": _machine(),
        "data_dir": data_dir,
        **made,
    }


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Writes results.json and results.md into the folder of the suite."""
    write_atomically(folder / JSON, (json_text(results, indent=1) + "\n").encode("utf8"))
    write_atomically(folder / MARKDOWN, ("\n".join(markdown(results)) + "\n").encode("utf8"))


def markdown(results: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of results.md: claims, tables with the paper's figures, the transfer matrices, notes."""
    settings, machine = results["settings"], results["machine"]
    yield f"# Suite {results['suite']}"
    yield ""
    yield (
        f"{settings['hparams_set']}, {settings['train_steps']:,} steps of joint training, seeds "
        f"{', '.join(map(str, settings['seeds']))}; {results['seconds'] / 3600:.1f} hours of training and scoring, "
        f"summed over the runs, on a machine of {machine['cores']} cores. "
        f"Scores are of the {settings['split']} split. {results['spread_rule']}"
    )
    for table in results["tables"]:
        cited = f"The paper's table {table['paper_table']}." if table["paper_table"] else "Not in the paper."
        yield from ("", f"## {table['title']}", "", cited, "")
        yield f"Claim: {table['claim']['paper']} {table['claim']['sentence']}"
        yield ""
        papers = [
            any(row["cells"][i] and row["cells"][i]["paper"] for row in table["rows"])
            for i in range(len(table["columns"]))
        ]
        heading = [""]
        for column, has_paper in zip(table["columns"], papers, strict=True):
            heading += [column["label"], *([f"paper: {column['label']}"] if has_paper else [])]
        yield from _table_lines(heading)
        for row in table["rows"]:
            line = [row["label"]]
            for column, cell, has_paper in zip(table["columns"], row["cells"], papers, strict=True):
                line.append(cell["text"] if cell else "-")
                if has_paper:
                    paper = cell["paper"] if cell else None
                    line.append("" if paper is None else format_value(paper, column["format"]))
            yield _line(line)
        yield ""
        yield from (f"- {row['sentence']}" for row in table["comparisons"])
    for matrix in results["transfer"]:
        yield from ("", f"## {matrix['title']}", "")
        yield "Nats of log-perplexity; above 0 the other problem helps. In brackets where it is within the spread."
        yield ""
        yield f"Claim: {matrix['claim']['paper']} {matrix['claim']['sentence']}"
        yield ""
        yield from _table_lines(["gains of", *(f"from {source['label']}" for source in matrix["sources"])])
        for target, gains in zip(matrix["targets"], matrix["gains"], strict=True):
            yield _line([target["label"], *map(_gain, gains)])
    if results["notes"]:
        yield from ("", "## Runs that are missing", "", *(f"- {note}" for note in results["notes"]))


def _gain(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    return f"({cell['text']})" if cell["verdict"] == "within the spread" else cell["text"]


def _table_lines(heading: list[str]) -> list[str]:
    return [_line(heading), _line(["---", *["---:"] * (len(heading) - 1)])]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _versions() -> dict[str, str]:
    versions = {"t2t_lite": t2t_lite.__version__, "python": platform.python_version()}
    for name in ("tensorflow", "keras", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def _machine() -> dict[str, Any]:
    """Returns the processor, the number of cores and the memory; no name of the host."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # macOS has no such file, ARM no such line
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        memory = 0
    return {"processor": processor, "cores": os.cpu_count() or 1, "memory_bytes": memory, "system": platform.system()}
