"""The page of a report: a section for each subject, in one HTML file without scripts or other files."""

import platform
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import t2t_lite
from t2t_lite.progress import format_seconds
from t2t_lite.report import figures, svg
from t2t_lite.report.content import Report
from t2t_lite.report.experiment_tables import describe_results, draw_results
from t2t_lite.report.facts import RunFacts
from t2t_lite.report.html import Html, details, element, hint, join, missing, table
from t2t_lite.report.model_sections import attention_section, confusions_section, examples_section, experts_section

_FOLDER = Path(__file__).parent
_MAX_GROUPS = 6  # of runs in a chart


def render(report: Report) -> str:
    """Returns the page as HTML."""
    sections = {
        "Results": _results(report),
        "Runs": _runs(report),
        "Scores": _scores(report),
        "Learning curves": _curves(report),
        "Decoded examples": examples_section(report),
        "Experts": experts_section(report),
        "Attention": attention_section(report),
        "Confusions": confusions_section(report),
        "How this page was made": _origin(report),
    }
    of_runs = set(list(sections)[1:-1])
    shown = {title: body for title, body in sections.items() if body and (report.runs or title not in of_runs)}
    ids = {title: title.lower().replace(" ", "-") for title in shown}
    suite = (report.results or {}).get("suite")
    names = ", ".join(run.title for run in report.runs)
    template = string.Template((_FOLDER / "page.html").read_text(encoding="utf8"))
    return template.substitute(
        title=join(f"t2t_lite: {suite}" if suite else f"t2t_lite: {names}"),
        style=(_FOLDER / "page.css").read_text(encoding="utf8").strip(),
        summary=_summary(report),
        navigation=join([element("a", title, href=f"#{key}") for title, key in ids.items()]),
        sections=join([element("section", element("h2", title), body, id=ids[title]) for title, body in shown.items()]),
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + "s" * (number != 1)


def _summary(report: Report) -> Html:
    """Returns what the page is about: all runs of a suite, or the runs given."""
    results = report.results or {}
    seeds = [run["seed"] for run in results.get("runs", [])] or [run.hparams.seed for run in report.runs if run.hparams]
    parts = [_count(len(results.get("runs", report.runs)), "run")]
    if seeds:
        listed = sorted(set(seeds))
        parts.append(f"seed{'s' * (len(listed) > 1)} {', '.join(map(str, listed))}")
    parts.append(_count(len(report.problems), "problem"))
    if results and report.runs:
        parts.append(f"models and answers of {', '.join(run.title for run in report.runs)}")
    description = results.get("description")
    return join(element("p", description) if description else None, element("p", " · ".join(parts)))


def _results(report: Report) -> Html | None:
    if report.results is None:
        return None
    return draw_results(report.results)


# Runs


def _runs(report: Report) -> Html:
    heading = ["run", "model", "problems", "parameters", "steps", "weights of step", "seed", "training time"]
    rows: list[list[Any]] = []
    for run in report.runs:
        parameters = sum(run.parameters.values())
        rows.append(
            [
                run.title,
                run.model or "-",
                len(run.kinds) or "-",
                element("span", figures.size(parameters), title=f"{parameters:,}") if parameters else "-",
                f"{run.steps:,}" if run.steps else "-",
                "-" if run.checkpoint is None else f"{run.checkpoint:,}",
                run.hparams.seed if run.hparams else "-",
                format_seconds(run.seconds) if run.seconds else "-",
            ]
        )
    notes = [element("p", f"{run.title}: {note}", class_="note") for run in report.runs for note in run.notes]
    commands = [join(element("h4", run.title), element("pre", run.command)) for run in report.runs if run.command]
    parts = list(dict.fromkeys(part for run in report.runs for part in run.parameters))
    sizes = [
        [part, *(f"{run.parameters[part]:,}" if part in run.parameters else "" for run in report.runs)]
        for part in parts
    ]
    return element(
        "div",
        table(heading, rows),
        notes,
        [element("p", note, class_="note") for note in report.notes],
        details("Parameters by part", table(["part", *(run.title for run in report.runs)], sizes)) if parts else None,
        details("Commands that train with these settings", *commands) if commands else None,
        class_="panel",
    )


# Scores


def _scores(report: Report) -> Html | None:
    scored = [run for run in report.runs if run.scores]
    if not scored and report.results is not None:
        return None  # the runs of an experiment are scored in its tables
    if not scored:
        return missing("No run has an evaluation: train with --eval_every, or run t2t-eval --checkpoint=all.")
    rows = []
    for problem in report.problems:
        by_run = {run.folder: run.scores[problem] for run in scored if problem in run.scores}
        main = next((metrics for scores in by_run.values() if (metrics := figures.metrics_of(scores))), None)
        if main:
            key, metric = next(iter(main.items()))
            rows.append([problem, metric.title, *_cells(key, metric, [by_run.get(run.folder) for run in scored])])
    steps = sorted({scores["step"] for run in scored for scores in run.scores.values()})
    line = f"The last evaluation of each run on the dev split, step {', '.join(f'{step:,}' for step in steps[-4:])}."
    whole = [details(f"All scores of {run.title}", _all_scores(run)) for run in scored]
    heading = ["problem", "figure", *(run.title for run in scored)]
    others = [missing(f"{run.title} has no evaluation of a dev split.") for run in report.runs if not run.scores]
    return element("div", hint(line), table(heading, rows), others, whole, class_="panel")


def _cells(key: str, metric: figures.Metric, scores: Sequence[Mapping[str, Any] | None]) -> list[Html]:
    """Returns a cell for each run; the best is bold if there are several."""
    values = [each[key] if each and figures.is_number(each.get(key)) else None for each in scores]
    known = [value for value in values if value is not None]
    best = (max if metric.higher_is_better else min)(known) if len(known) > 1 and len(set(known)) > 1 else None
    return [
        element(
            "span",
            "-" if value is None else metric.format.format(value),
            class_="best" if value == best and best is not None else None,
        )
        for value in values
    ]


def _all_scores(run: RunFacts) -> Html:
    metrics = {key: metric for scores in run.scores.values() for key, metric in figures.metrics_of(scores).items()}
    ordered = [
        *(key for key in figures.METRICS if key in metrics),
        *(key for key in metrics if key not in figures.METRICS),
    ]
    rows: list[list[Any]] = [
        [
            problem,
            *(f"{scores[key]:,}" if figures.is_number(scores.get(key)) else "" for key in ("step", "examples")),
            *(metrics[key].format.format(scores[key]) if figures.is_number(scores.get(key)) else "" for key in ordered),
        ]
        for problem, scores in run.scores.items()
    ]
    return table(["problem", "step", "examples", *(metrics[key].title for key in ordered)], rows)


# Learning curves


def _curves(report: Report) -> Html:
    curves = report.curves or [(run.title, run) for run in report.runs]
    problems = dict.fromkeys([*report.problems, *(name for _, run in curves for name in run.curves)])
    panels = [panel for problem in problems if (panel := _problem_curves(problem, curves))]
    if not panels:
        return missing("No run has training metrics or evaluations (scalars.jsonl).")
    names = list(dict.fromkeys(name for name, _ in curves))
    line = "Loss in nats per target: of training (without points) and on the dev split (with points); accuracy of "
    line += "targets on the dev split, with teacher forcing. The horizontal axis counts the steps on this problem."
    return join(hint(line), _key(names) if len(names) > 1 else None, element("div", panels, class_="grid"))


def _key(names: Iterable[str]) -> Html:
    items = [element("li", element("span", class_=f"swatch s{i % svg.COLOURS}"), name) for i, name in enumerate(names)]
    return element("ul", items, class_="key")


def _problem_curves(problem: str, curves: Sequence[tuple[str, RunFacts]]) -> Html | None:
    colours = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in curves))}
    own = [(name, run.curves[problem]) for name, run in curves if problem in run.curves]
    groups = list(dict.fromkeys(name for name, _ in own))[:_MAX_GROUPS]
    lines: dict[str, list[svg.Line]] = {"loss": [], "accuracy": []}
    for name, each in own:
        if name not in groups:
            continue
        colour = colours[name]
        if each.train_loss:
            lines["loss"].append(svg.Line(each.train_loss, colour, "faint" if each.dev.get("loss") else ""))
        for key in lines:
            if each.dev.get(key):
                lines[key].append(svg.Line(each.dev[key], colour, marked=len(each.dev[key]) <= 40))
    charts = []
    for key, unit in (("loss", figures.compact), ("accuracy", figures.compact_percent)):
        fewest = 1 if key == "loss" else 2  # a single accuracy is one of the scores
        if any(len(line.points) >= fewest for line in lines[key]):
            chart = svg.line_chart(lines[key], f"{problem}: {key} by step", unit, logarithmic=key == "loss")
            charts.append(element("figure", element("figcaption", key), chart))
    return element("article", element("h3", problem), charts, class_="panel") if charts else None


def _origin(report: Report) -> Html:
    import keras
    import tensorflow as tf

    versions = {
        "t2t_lite": t2t_lite.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "Python": platform.python_version(),
    }
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    data = sorted({run.data_version for run in report.runs if run.data_version})
    return element(
        "div",
        element("p", f"Made in {format_seconds(report.seconds)} with {made}."),
        describe_results(report.results) if report.results else None,
        element("p", f"The data were generated by t2t_lite {', '.join(data)}.") if data else None,
        class_="panel",
    )
