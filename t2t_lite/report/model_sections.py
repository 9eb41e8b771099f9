"""Sections of the page that look into the models: decoded examples, experts, attention, confusions."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2t_lite.report import figures, svg
from t2t_lite.report.content import NAMES, Report
from t2t_lite.report.facts import Attention, Confusion, Example, ExpertUse, Kind, RunFacts
from t2t_lite.report.html import Html, details, element, hint, join, missing, scroll
from t2t_lite.report.pictures import picture, pixels_uri, spectrogram

_MAX_CHARACTERS = 1500  # of a text on the page
_MAX_CLASSES = 24  # of a confusion matrix


# Decoded examples


def examples_section(report: Report) -> Html:
    """Returns the examples of each problem with the answers of the runs."""
    panels = []
    for problem, examples in report.examples.items():
        kind = report.kind(problem)
        rates = [run.sample_rates[problem] for run in report.runs if problem in run.sample_rates]
        shown = [_example(report, kind, example, (rates or [16000])[0]) for example in examples]
        heading = element("h3", f"{report.label(problem)}: {problem}")
        grid = element("div", shown, class_="examples wide" if kind.targets == "tree" else "examples")
        panels.append(element("article", heading, grid, class_="panel"))
    if not panels:
        return missing("No examples: no run has generated data at hand.")
    splits = " and ".join(sorted(set(report.splits.values())))
    line = f"Examples of the {splits} split and the answers of greedy search. "
    line += "Words that the reference does not have are underlined, words that the answer lacks are shaded."
    return join(hint(line), panels)


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


def experts_section(report: Report) -> Html:
    """Returns which experts serve which problem."""
    panels = [_run_experts(run) for run in report.runs if run.experts]
    for run in report.runs:
        if not run.experts:
            measured = run.checkpoint is not None and report.examples
            reason = "its model has no experts" if measured else "no experts were measured"
            panels.append(missing(f"{run.title}: {reason}."))
    return join(panels)


def _run_experts(run: RunFacts) -> Html:
    layers = list(dict.fromkeys(layer for use in run.experts.values() for layer in use.by_position))
    examples = sorted({use.examples for use in run.experts.values()})
    counted = f"{examples[0]:,}" if len(examples) == 1 else f"{examples[0]:,} to {examples[-1]:,}"
    line = f"Counted on {counted} examples of each problem, with teacher forcing. A position goes to "
    line += f"{run.hparams.experts_per_position if run.hparams else 'a few'} experts of each layer."
    body: list[Any] = [hint(line)]
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
        kinds = [NAMES[kind] for kind in modalities]
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
    return shown, details(title, element("div", positions, class_="small-grid"))


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


def attention_section(report: Report) -> Html:
    """Returns an attention map for each problem."""
    panels: list[Html] = []
    for name in report.problems:
        for number, run in enumerate(report.runs):
            if name in run.attention:
                title = name if len(report.runs) == 1 else f"{name}: {run.title}"
                drawn = _draw_attention(run, name, run.attention[name], f"look-{number}-{len(panels)}")
                panels.append(element("article", element("h3", title), drawn, class_="panel"))
    if not panels:
        return missing("No attention was recorded: the runs have none, or no answers.")
    line = (
        "One example of each problem, with the model's own answer. Rows: pieces of the answer; columns: positions of "
    )
    line += "the encoded input. Mean over layers and heads."
    return join(hint(line), element("div", panels, class_="cards"))


def _readable(piece: str) -> str:
    return piece.replace("\u2581", " ").strip() or ("␣" if piece else "")


def _draw_attention(run: RunFacts, name: str, attention: Attention, key: str) -> Html:
    rows, columns = [[_readable(piece) for piece in pieces] for pieces in (attention.rows, attention.columns)]
    value = attention.example.inputs[0]
    if attention.grid and np.prod(attention.grid) == attention.weights.shape[1]:
        return svg.attention_looks(attention.weights, rows, attention.grid, pixels_uri(attention.pixels), key)
    above = spectrogram(value, run.sample_rates[name])[0] if run.kinds[name].inputs == ("audio",) else None
    return scroll(svg.attention_map(attention.weights, rows, columns, above))


def confusions_section(report: Report) -> Html | None:
    """Returns classes against answers; None without problems with classes."""
    if not any(report.kind(name).targets == "class" for name in report.problems):
        return None
    panels: list[Html] = []
    for run in report.runs:
        for name, confusion in run.confusion.items():
            title = name if len(report.runs) == 1 else f"{name}: {run.title}"
            panels.append(element("article", element("h3", title), _draw_confusion(confusion), class_="panel"))
    return join(panels) if panels else missing("No answers to problems with classes.")


def _draw_confusion(confusion: Confusion) -> Html:
    counts, classes = confusion.counts, confusion.classes
    total, right = int(counts.sum()), int(np.trace(counts))
    line = f"{right:,} of {total:,} examples are right. Rows: the class; columns: the answer."
    if len(classes) > _MAX_CLASSES:
        wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        kept = np.sort(np.lexsort((-counts.sum(axis=1), -wrong))[:_MAX_CLASSES])
        line += f" Shown are the {_MAX_CLASSES} of {len(classes):,} classes with the most errors."
        counts, classes = counts[np.ix_(kept, kept)], [classes[i] for i in kept]
    values = np.where(counts > 0, counts, np.nan).astype(float)
    drawn = svg.heat_map(values, classes, classes, "Confusion matrix", "{:.0f}".format)
    return join(hint(line), scroll(drawn))
