"""The page of a report: a section for each subject, in one HTML file without scripts or other files."""

import difflib
import platform
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import t2t_lite
from t2t_lite.progress import format_seconds
from t2t_lite.report import figures, svg
from t2t_lite.report.experiment_tables import describe_results, draw_results, labels
from t2t_lite.report.facts import Attention, Confusion, Example, ExpertUse, Kind, RunFacts
from t2t_lite.report.html import Html, element, join, scroll, table
from t2t_lite.report.pictures import picture, pixels_uri, spectrogram

_FOLDER = Path(__file__).parent
_MAX_CHARACTERS = 1500  # of a text on the page
_MAX_CLASSES = 24  # of a confusion matrix
_MAX_GROUPS = 6  # of runs in a chart
_NAMES = {"text": "Text", "image": "Picture", "audio": "Sound", "class": "Class", "tree": "Tree"}


@dataclass
class Report:
    """What a page shows."""

    runs: list[RunFacts]
    examples: dict[str, list[Example]] = field(default_factory=dict)  # {problem: examples}
    splits: dict[str, str] = field(default_factory=dict)  # {problem: the split of its examples}
    curves: list[tuple[str, RunFacts]] = field(default_factory=list)  # (name, run); runs of one name share a colour
    results: Mapping[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0  # that making it took

    @property
    def problems(self) -> list[str]:
        """The problems of all runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.kinds))

    def label(self, problem: str) -> str:
        """Returns a problem's title: "Picture to class", say."""
        kind = self.kind(problem)
        inputs = " and ".join(_NAMES[each] for each in kind.inputs)
        return labels(self.results).get(problem) or f"{inputs} to {_NAMES[kind.targets].lower()}"

    def kind(self, problem: str) -> Kind:
        """What a problem's data are."""
        return next(run.kinds[problem] for run in self.runs if problem in run.kinds)


def render(report: Report) -> str:
    """Returns the page as HTML."""
    sections = {
        "Results": _results(report),
        "Runs": _runs(report),
        "Scores": _scores(report),
        "Learning curves": _curves(report),
        "Decoded examples": _examples(report),
        "Experts": _experts(report),
        "Attention": _attention(report),
        "Confusions": _confusions(report),
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


def _missing(line: str) -> Html:
    return element("p", line, class_="missing")


def _hint(line: str) -> Html:
    return element("p", line, class_="hint")


def _summary(report: Report) -> Html:
    seeds = sorted({run.hparams.seed for run in report.runs if run.hparams})
    parts = [_count(len(report.runs), "run"), _count(len(report.problems), "problem")] if report.runs else []
    if seeds:
        parts.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    if report.results is not None and parts:
        parts[0] += " looked into"
    description = (report.results or {}).get("description")
    return join(element("p", description) if description else None, element("p", " · ".join(parts)) if parts else None)


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
        _details("Parameters by part", table(["part", *(run.title for run in report.runs)], sizes)) if parts else None,
        _details("Commands that train with these settings", *commands) if commands else None,
        class_="panel",
    )


def _details(summary: str, *children: Any) -> Html:
    return element("details", element("summary", summary), *children)


# Scores


def _scores(report: Report) -> Html | None:
    scored = [run for run in report.runs if run.scores]
    if not scored and report.results is not None:
        return None  # the runs of an experiment are scored in its tables
    if not scored:
        return _missing("No run has an evaluation: train with --eval_every, or run t2t-eval --checkpoint=all.")
    rows = []
    for problem in report.problems:
        by_run = {run.folder: run.scores[problem] for run in scored if problem in run.scores}
        main = next((metrics for scores in by_run.values() if (metrics := figures.metrics_of(scores))), None)
        if main:
            key, metric = next(iter(main.items()))
            rows.append([problem, metric.title, *_cells(key, metric, [by_run.get(run.folder) for run in scored])])
    steps = sorted({scores["step"] for run in scored for scores in run.scores.values()})
    hint = f"The last evaluation of each run on the dev split, step {', '.join(f'{step:,}' for step in steps[-4:])}."
    whole = [_details(f"All scores of {run.title}", _all_scores(run)) for run in scored]
    heading = ["problem", "figure", *(run.title for run in scored)]
    others = [_missing(f"{run.title} has no evaluation of a dev split.") for run in report.runs if not run.scores]
    return element("div", _hint(hint), table(heading, rows), others, whole, class_="panel")


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
        return _missing("No run has training metrics or evaluations (scalars.jsonl).")
    names = list(dict.fromkeys(name for name, _ in curves))
    hint = "Loss in nats per target: of training (without points) and on the dev split (with points); accuracy of "
    hint += "targets on the dev split, with teacher forcing. The horizontal axis counts the steps on this problem."
    return join(_hint(hint), _key(names) if len(names) > 1 else None, element("div", panels, class_="grid"))


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


# Decoded examples


def _examples(report: Report) -> Html:
    panels = []
    for problem, examples in report.examples.items():
        kind = report.kind(problem)
        rates = [run.sample_rates[problem] for run in report.runs if problem in run.sample_rates]
        shown = [_example(report, kind, example, (rates or [16000])[0]) for example in examples]
        heading = element("h3", f"{report.label(problem)}: {problem}")
        grid = element("div", shown, class_="examples wide" if kind.targets == "tree" else "examples")
        panels.append(element("article", heading, grid, class_="panel"))
    if not panels:
        return _missing("No examples: no run has generated data at hand.")
    splits = " and ".join(sorted(set(report.splits.values())))
    hint = f"Examples of the {splits} split and the answers of greedy search. "
    hint += "Words that the reference does not have are underlined, words that the answer lacks are shaded."
    return join(_hint(hint), panels)


def _example(report: Report, kind: Kind, example: Example, rate: int) -> Html:
    given = [_draw_input(*each, rate) for each in zip(kind.inputs, example.inputs, strict=True)]
    answers = []
    for number, run in enumerate(report.runs):
        if number in example.answers:
            title = "answer" if len(report.runs) == 1 else run.title
            answers.append((title, example.answers[number]))
    if kind.targets == "tree" and isinstance(example.inputs[0], str) and example.inputs[0].strip():
        return element("div", given, _trees(example, answers), class_="example")
    if kind.targets == "class":
        rows = [
            ("reference", join(example.reference)),
            *((title, _marked_class(text, example.reference)) for title, text in answers),
        ]
        return element("div", given, _answers(rows), class_="example")
    marked = [(title, *mark_words(_short(text), _short(example.reference))) for title, text in answers]
    reference = marked[0][2] if len(marked) == 1 else join(_short(example.reference))
    rows = [("reference", reference), *((title, answer) for title, answer, _ in marked)]
    return element("div", given, _answers(rows), class_="example")


def _answers(rows: Sequence[tuple[str, Html]], class_: str = "answers") -> Html:
    pairs = [(element("dt", title), element("dd", body)) for title, body in rows]
    return element("dl", [element("div", *pair) for pair in pairs], class_=class_)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + " …"


def _draw_input(kind: str, value: Any, rate: int) -> Html:
    if kind == "image":
        uri, (columns, rows) = picture(value)
        small = " small" if max(columns, rows) < 80 else ""
        return element("img", src=uri, alt="the picture", class_=f"picture{small}")
    if kind == "audio":
        uri, _ = spectrogram(value, rate)
        seconds = f"{len(value) / rate:.1f} s, frequency up to {rate / 2000:g} kHz"
        image = element("img", src=uri, alt=f"spectrogram of the sound, {seconds}", class_="sound")
        return element("figure", image, element("figcaption", seconds))
    return element("p", _short(str(value)), class_="given")


def _trees(example: Example, answers: Sequence[tuple[str, str]]) -> Html:
    sentence = example.inputs[0]
    rows = [("reference", scroll(svg.tree(example.reference, sentence)))]
    for title, text in answers:
        right = text.split() == example.reference.split()
        drawn = scroll(svg.tree(text, sentence, example.reference))
        rows.append((title, join("the same tree", _sign(True)) if right else join(drawn, _sign(False))))
    return _answers(rows, "answers trees")


def _sign(right: bool) -> Html:
    kind, word = ("right", "✓") if right else ("wrong", "✗")
    return element("span", word, class_=f"sign {kind}", title=kind)


def _marked_class(answer: str, reference: str) -> Html:
    return join(answer, _sign(answer == reference))


def mark_words(answer: str, reference: str) -> tuple[Html, Html]:
    """Returns an answer with its wrong words marked, and the reference with the words that the answer lacks."""
    words = answer.split(), reference.split()
    matcher = difflib.SequenceMatcher(None, *words, autojunk=False)
    parts: tuple[list[Html], list[Html]] = ([], [])
    for kind, a, b, c, d in matcher.get_opcodes():
        for side, chosen, class_ in ((0, words[0][a:b], "wrong"), (1, words[1][c:d], "missed")):
            if chosen:
                run = " ".join(chosen)
                parts[side].append(join(run) if kind == "equal" else element("mark", run, class_=class_))
    marked, wanted = (Html(" ".join(each)) for each in parts)
    if not words[0]:
        marked = element("span", "(empty)", class_="missing")
    return join(marked, _sign(words[0] == words[1])), wanted


# Experts


def _experts(report: Report) -> Html:
    panels = [_run_experts(run) for run in report.runs if run.experts]
    for run in report.runs:
        if not run.experts:
            measured = run.checkpoint is not None and report.examples
            reason = "its model has no experts" if measured else "no experts were measured"
            panels.append(_missing(f"{run.title}: {reason}."))
    return join(panels)


def _run_experts(run: RunFacts) -> Html:
    layers = list(dict.fromkeys(layer for use in run.experts.values() for layer in use.by_position))
    examples = sorted({use.examples for use in run.experts.values()})
    counted = f"{examples[0]:,}" if len(examples) == 1 else f"{examples[0]:,} to {examples[-1]:,}"
    hint = f"Counted on {counted} examples of each problem, with teacher forcing. A position goes to "
    hint += f"{run.hparams.experts_per_position if run.hparams else 'a few'} experts of each layer."
    body: list[Any] = [_hint(hint)]
    for layer in layers:
        uses = {name: use for name, use in run.experts.items() if layer in use.by_position}
        figures_, positions = _layer(run, layer, uses)
        body += [element("h4", layer.capitalize()), element("div", figures_, class_="small-grid"), positions]
    return element("article", element("h3", run.title), body, class_="panel")


def _layer(run: RunFacts, layer: str, uses: Mapping[str, ExpertUse]) -> tuple[list[Html], Html]:
    """Returns the heat maps of a layer, and those by position."""
    names = list(uses)
    shares = np.array([_share(use.by_position[layer].sum(axis=1)) for use in uses.values()])
    experts = [str(number) for number in range(shares.shape[1])]
    drawn = svg.heat_map(shares, names, experts, f"Use of the {layer}'s experts by problem", figures.percent)
    shown = [_figure("Share of each problem's positions by expert", drawn)]
    modalities: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        for kind in run.kinds[name].inputs if layer == "encoder" else (run.kinds[name].targets,):
            modalities.setdefault(kind, []).append(i)
    if len(modalities) > 1:
        means = np.array([shares[rows].mean(axis=0) for rows in modalities.values()])
        kinds = [_NAMES[kind] for kind in modalities]
        what = "input" if layer == "encoder" else "output"
        label = f"Use of the {layer}'s experts by modality"
        drawn = svg.heat_map(means, kinds, experts, label, figures.percent)
        shown.append(_figure(f"By modality of the {what}, mean over its problems", drawn))
    if len(names) > 1:
        lengths = np.linalg.norm(shares, axis=1)
        overlap = shares @ shares.T / np.maximum(np.outer(lengths, lengths), 1e-12)
        label = f"Overlap of problems in the {layer}'s experts"
        drawn = svg.heat_map(overlap, names, names, label, "{:.2f}".format)
        shown.append(_figure("Overlap of problems: cosine of their shares, 1 if they use the same experts", drawn))
    without = {name: use for name, use in uses.items() if layer in use.without}
    if without:
        rises = np.array([use.without[layer] - use.loss for use in without.values()])
        most = np.nanmax(np.abs(rises), initial=0.0)
        drawn = svg.heat_map(
            *(rises, list(without), experts, f"Increase of the loss without each expert of the {layer}"),
            figures.signed(1 if most >= 10 else 2),
            signed=True,
        )
        measured, total = int(np.isfinite(rises).sum()), rises.size
        note = "" if measured == total else f" {measured:,} of {total:,} were measured, the most used experts first."
        caption = "Increase of the loss, in nats per target, when an expert's output is replaced by zero." + note
        shown.append(_figure(caption, drawn))
    positions = [_positions(name, use.by_position[layer]) for name, use in uses.items()]
    title = "By position, from the first tenth of the sequence (left) to the last; a row is an expert"
    return shown, _details(title, element("div", positions, class_="small-grid"))


def _share(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1e-12)


def _positions(name: str, counts: np.ndarray) -> Html:
    shares = counts / np.maximum(counts.sum(axis=0), 1e-12)  # of each tenth
    every = 1 if len(shares) <= 32 else 10
    rows = [str(number) if number % every == 0 else "" for number in range(len(shares))]
    cell = (14.0, 18.0 if len(rows) <= 8 else 13.0 if every == 1 else 3.0)
    return element(
        "figure", svg.bitmap(shares, rows, f"{name}: experts by position", cell=cell), element("figcaption", name)
    )


def _figure(caption: str, drawn: Html) -> Html:
    return element("figure", element("figcaption", caption), scroll(drawn))


# Attention and confusions


def _attention(report: Report) -> Html:
    panels: list[Html] = []
    for name in report.problems:
        for number, run in enumerate(report.runs):
            if name in run.attention:
                title = name if len(report.runs) == 1 else f"{name}: {run.title}"
                drawn = _draw_attention(run, name, run.attention[name], f"look-{number}-{len(panels)}")
                panels.append(element("article", element("h3", title), drawn, class_="panel"))
    if not panels:
        return _missing("No attention was recorded: the runs have none, or no answers.")
    hint = (
        "One example of each problem, with the model's own answer. Rows: pieces of the answer; columns: positions of "
    )
    hint += "the encoded input. Mean over layers and heads."
    return join(_hint(hint), element("div", panels, class_="cards"))


def _readable(piece: str) -> str:
    return piece.replace("\u2581", " ").strip() or ("␣" if piece else "")


def _draw_attention(run: RunFacts, name: str, attention: Attention, key: str) -> Html:
    rows, columns = [[_readable(piece) for piece in pieces] for pieces in (attention.rows, attention.columns)]
    value = attention.example.inputs[0]
    if attention.grid and np.prod(attention.grid) == attention.weights.shape[1]:
        return svg.attention_looks(attention.weights, rows, attention.grid, pixels_uri(attention.pixels), key)
    above = spectrogram(value, run.sample_rates[name])[0] if run.kinds[name].inputs == ("audio",) else None
    return scroll(svg.attention_map(attention.weights, rows, columns, above))


def _confusions(report: Report) -> Html | None:
    if not any(report.kind(name).targets == "class" for name in report.problems):
        return None
    panels: list[Html] = []
    for run in report.runs:
        for name, confusion in run.confusion.items():
            title = name if len(report.runs) == 1 else f"{name}: {run.title}"
            panels.append(element("article", element("h3", title), _draw_confusion(confusion), class_="panel"))
    return join(panels) if panels else _missing("No answers to problems with classes.")


def _draw_confusion(confusion: Confusion) -> Html:
    counts, classes = confusion.counts, confusion.classes
    total, right = int(counts.sum()), int(np.trace(counts))
    hint = f"{right:,} of {total:,} examples are right. Rows: the class; columns: the answer."
    if len(classes) > _MAX_CLASSES:
        wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        kept = np.sort(np.lexsort((-counts.sum(axis=1), -wrong))[:_MAX_CLASSES])
        hint += f" Shown are the {_MAX_CLASSES} of {len(classes):,} classes with the most errors."
        counts, classes = counts[np.ix_(kept, kept)], [classes[i] for i in kept]
    values = np.where(counts > 0, counts, np.nan).astype(float)
    drawn = svg.heat_map(values, classes, classes, "Confusion matrix", "{:.0f}".format)
    return join(_hint(hint), scroll(drawn))


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
