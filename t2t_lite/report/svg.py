"""Drawings as inline SVG, coloured by the classes of page.css: line charts, heat maps, trees, attention."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2t_lite.problems import trees
from t2t_lite.report.html import Html, element, join
from t2t_lite.report.pictures import shade_bitmap, weights_bitmap

COLOURS = 8  # of series in page.css

_CHART = (340, 190)  # width and height of a line chart
_MARGIN = (44, 12, 8, 26)  # left, right, top, bottom
_MAX_WRITTEN = 24  # columns of a heat map with numbers
_LEVEL = 46  # from a node of a tree to its children
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|![]() "), frozenset("mwMWQ@%")


@dataclass(frozen=True)
class Line:
    """A line of a chart, or its points marked too."""

    points: Sequence[tuple[float, float]]
    colour: int
    class_: str = ""  # "faint": thin and pale
    marked: bool = False


def text_width(text: str, size: float) -> float:
    """Estimates the width of a text in a sans-serif font."""
    widths = (
        0.36 if c in _NARROW else 0.98 if c in _WIDE else 1.0 if ord(c) > 0x2E80 else 0.72 if c.isupper() else 0.62
        for c in text
    )
    return size * sum(widths)


def _svg(width: float, height: float, label: str, *children: Any, class_: str = "", fluid: bool = False) -> Html:
    size: dict[str, Any] = {} if fluid else {"width": round(width, 1), "height": round(height, 1)}
    box = f"0 0 {width:.1f} {height:.1f}"
    return element("svg", *children, class_=class_ or None, viewBox=box, role="img", aria_label=label, **size)


def _text(x: float, y: float, content: Any, **attributes: Any) -> Html:
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def line_chart(lines: Sequence[Line], label: str, unit: Callable[[float], str], *, logarithmic: bool = False) -> Html:
    """Draws lines over a common x axis that counts steps.

    Args:
      lines: the lines; at least one has a point.
      label: what is drawn, for readers that do not see it.
      unit: formats a value of the y axis.
      logarithmic: the y axis is logarithmic if all values are positive and far apart.
    """
    xs, ys = (np.array([p[i] for line in lines for p in line.points]) for i in (0, 1))
    log = logarithmic and ys.min() > 0 and ys.max() > 8 * ys.min()
    ticks = _log_ticks(ys.min(), ys.max()) if log else _ticks(ys.min(), ys.max())
    scale: Callable[[float], float] = math.log10 if log else float
    bounds = [scale(v) for v in (min(ys.min(), ticks[0]), max(ys.max(), ticks[-1]))]
    low, high = bounds[0], bounds[1] if bounds[1] > bounds[0] else bounds[0] + 1
    left, right, top, bottom = _MARGIN
    width, height = _CHART[0] - left - right, _CHART[1] - top - bottom
    most = max(float(xs.max()), 1.0)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * x / most, top + height * (1 - (scale(y) - low) / (high - low))

    drawn = []
    for tick in ticks:
        y = place(0, tick)[1]
        drawn.append(element("path", d=f"M{left} {y:.1f}H{_CHART[0] - right}", class_="grid"))
        drawn.append(_text(left - 5, y, unit(tick), class_="tick end"))
    x_ticks = [tick for tick in _ticks(0, most, 4) if tick <= most * 1.001]
    for tick in x_ticks:
        last = tick == x_ticks[-1] and tick > 0.93 * most
        drawn.append(_text(place(tick, ticks[0])[0], _CHART[1] - 10, f"{tick:,.0f}", class_="tick" + " end" * last))
    for line in lines:
        placed = [place(*point) for point in line.points]
        colour = f"s{line.colour % COLOURS}"
        if len(placed) > 1:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
            drawn.append(element("path", d=path, class_=f"line {colour} {line.class_}".rstrip()))
        if line.marked or len(placed) == 1:
            drawn += [element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=2.4, class_=f"dot {colour}") for x, y in placed]
    return _svg(*_CHART, label, drawn, class_="chart", fluid=True)


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns round numbers from at or below `low` to at or above `high`."""
    span = max(high - low, abs(high) * 0.1, 1e-6)
    step = 10.0 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high < 100 * low else (1,) if high > 1e4 * low else (1, 3)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    first = max((i for i, tick in enumerate(ticks) if tick <= low * 1.05), default=0)
    last = min((i for i, tick in enumerate(ticks) if tick >= high * 0.95), default=len(ticks) - 1)
    return ticks[first : last + 1]


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    number: Callable[[float], str] | None = None,
    *,
    texts: Sequence[Sequence[str]] | None = None,
    below: Sequence[Sequence[str]] | None = None,
    signed: bool = False,
) -> Html:
    """Draws a table of numbers as coloured cells. NaN leaves a cell empty.

    Args:
      values: (R, C).
      rows, columns: their names; those of columns stand upright if they are long.
      label: what is drawn, for readers that do not see it.
      number: formats a value, which is written into its cell if there are few columns; None: never written.
      texts, below: (R, C), a first and a second line to write into the cells instead.
      signed: positive values are drawn in the accent colour, negative ones in that of errors.
    """
    count = len(columns)
    written = texts is not None or (number is not None and count <= _MAX_WRITTEN)
    if texts is None:
        texts = [[number(v) if number and written and not math.isnan(v) else "" for v in row] for row in values]
    cell_width, cell_height = float(np.clip(640 / count, 3, 26)), 20.0
    if written:
        widest = max((text_width(text, 12) for row in (*texts, *(below or ())) for text in row), default=0)
        cell_width, cell_height = max(34.0, widest + 8), 34.0 if below else 24.0
    rows, columns = [_cut(name, 32) for name in rows], [_cut(name, 26) for name in columns]
    left = max((text_width(row, 13) for row in rows), default=0) + 10
    upright = any(text_width(column, 12) > cell_width - 4 for column in columns)
    columns = [column if cell_width >= 13 or i % 10 == 0 else "" for i, column in enumerate(columns)]
    top = max((text_width(column, 12) for column in columns), default=0) + 12 if upright else 22.0
    most = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-12)
    drawn = []
    for c, column in enumerate(columns):
        x = left + (c + 0.5) * cell_width
        turn = f"rotate(-90 {x:.1f} {top - 6:.1f})" if upright else None
        drawn.append(_text(x, top - 6, column, class_="tick upright" if upright else "tick", transform=turn))
    for r, row in enumerate(rows):
        y = top + r * cell_height
        drawn.append(_text(left - 8, y + cell_height / 2, row, class_="name end"))
        for c, value in enumerate(values[r]):
            x, strength = left + c * cell_width, 0.0 if math.isnan(value) else abs(float(value)) / most
            place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{cell_width - 1:.1f}", "height": cell_height - 1}
            kind = "empty" if math.isnan(value) else "cell negative" if signed and value < 0 else "cell"
            opacity = None if math.isnan(value) else f"{0.06 + 0.94 * strength:.2f}"
            drawn.append(element("rect", **place, class_=kind, fill_opacity=opacity))
            ink = "number on" if strength > 0.7 else "number"
            middle, height = x + cell_width / 2, y + cell_height / 2
            second = below[r][c] if below else ""
            if texts[r][c]:
                drawn.append(_text(middle, height - 7 * bool(second), texts[r][c], class_=ink))
            if second:
                drawn.append(_text(middle, height + 8, second, class_=f"{ink} small"))
    return _svg(left + count * cell_width + 2, top + len(rows) * cell_height + 2, label, drawn, class_="heat")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def bitmap(weights: np.ndarray, rows: Sequence[str], label: str, *, cell: tuple[float, float] = (12, 18)) -> Html:
    """Draws weights (R, C) as cells without numbers, in one small picture; rows are named."""
    left = max((text_width(row, 12) for row in rows), default=0) + 10
    width, height = weights.shape[1] * cell[0], weights.shape[0] * cell[1]
    names = [_text(left - 6, (i + 0.5) * cell[1], row, class_="tick end") for i, row in enumerate(rows)]
    return _svg(left + width, height, label, names, _cells(weights, left, 0, width, height), class_="heat")


def _cells(weights: np.ndarray, x: float, y: float, width: float, height: float) -> Html:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
    image = element("image", href=weights_bitmap(weights), preserveAspectRatio="none", class_="pixels", **place)
    return join(element("rect", class_="ground", **place), image)


def attention_map(weights: np.ndarray, rows: Sequence[str], columns: Sequence[str], above: str | None = None) -> Html:
    """Draws attention (T, S): a row for each piece of the answer, a column for each position of the input.

    Args:
      weights: (T, S).
      rows: the pieces of the answer.
      columns: the pieces of the input; all "" for a sound.
      above: a data URI of a picture to draw above the columns, such as a spectrogram.
    """
    named = any(columns)
    left = max(text_width(row, 13) for row in rows) + 10
    cell = (24.0 if named else float(np.clip(460 / len(columns), 1.5, 12)), 20.0)
    top = max(text_width(column, 12) for column in columns) + 10 if named else (72.0 if above else 2.0)
    width, height = cell[0] * len(columns), cell[1] * len(rows)
    drawn = [_text(left - 8, top + (i + 0.5) * cell[1], row, class_="name end") for i, row in enumerate(rows)]
    for i, column in enumerate(columns if named else ()):
        x = left + (i + 0.5) * cell[0]
        turn = f"rotate(-90 {x:.1f} {top - 6:.1f})"
        drawn.append(_text(x, top - 6, column, class_="tick upright", transform=turn))
    if above:
        place = {"x": f"{left:.1f}", "y": 0, "width": f"{width:.1f}", "height": 68}
        drawn.append(element("image", href=above, preserveAspectRatio="none", **place))
    strongest = [int(np.argmax(line)) for line in weights]
    said = "; ".join(f"{row}: {columns[s] or s + 1}" for row, s in zip(rows, strongest, strict=True))
    map_ = _cells(weights, left, top, width, height)
    return _svg(left + width + 4, top + height + 2, f"Attention. {said}", drawn, map_, class_="heat")


def attention_looks(weights: np.ndarray, rows: Sequence[str], grid: tuple[int, ...], uri: str, key: str) -> Html:
    """Draws a picture for each piece of an answer, dark where the attention is small.

    Args:
      weights: (T, S).
      rows: the pieces of the answer.
      grid: rows and columns of the S positions.
      uri: the picture.
      key: an id that no other drawing of the page has.
    """
    whole = {"x": 0, "y": 0, "width": 88, "height": 88, "preserveAspectRatio": "none"}
    source = element("image", id=key, href=uri, **whole)
    hidden = element("svg", element("defs", source), width=0, height=0, aria_hidden="true", class_="defs")
    looks = []
    for line, row in zip(weights, rows, strict=True):
        shade = element("image", href=shade_bitmap(line.reshape(grid)), **whole)
        drawn = _svg(88, 88, f"Attention of {row}", element("use", href=f"#{key}"), shade)
        looks.append(element("li", drawn, element("span", row)))
    return join(hidden, element("ul", looks, class_="looks"))


def tree(text: str, sentence: str, reference: str | None = None) -> Html:
    """Draws a tree in linear form over the words of its sentence; `trees.delinearise` repairs what is no tree.

    Args:
      text: the linear form, `(S (NP DT NN )NP ... )S`.
      sentence: the words.
      reference: the right tree; constituents and tags that it does not have are marked.
    """
    tags = [token for token in text.split() if not token.startswith(("(", ")"))]
    words = sentence.split()
    words = words if len(words) == len(tags) else trees.split_words(sentence) or words
    root = trees.delinearise(text, words)
    wanted = Counter(_spans(trees.delinearise(reference, words))) if reference is not None else None
    depth = root.depth()
    drawn_lines: list[Html] = []
    drawn_labels: list[Html] = []

    def children_of(node: trees.Tree) -> list[trees.Tree]:
        return [child for child in node.children if isinstance(child, trees.Tree)]

    def label(node: trees.Tree, start: int, end: int, x: float, y: float) -> None:
        key = (node.label, start, end)
        wrong = wanted is not None and wanted[key] == 0
        if wanted is not None and not wrong:
            wanted[key] -= 1
        kind = ("tag" if node.is_leaf else "label") + (" wrong" if wrong else "")
        if not node.is_leaf or wrong:
            wide = text_width(node.label, 14) + 12
            place = {"x": f"{x - wide / 2:.1f}", "y": f"{y - 12:.1f}", "width": f"{wide:.1f}", "height": 24, "rx": 7}
            drawn_labels.append(element("rect", class_="wrong" if wrong else "node", **place))
        drawn_labels.append(_text(x, y, node.label, class_=kind))

    @functools.cache
    def width_of(node: trees.Tree) -> float:
        if node.is_leaf:
            return max(text_width(node.label, 14) + 22, text_width(str(node.children[0]), 15) + 14)
        return max(text_width(node.label, 14) + 22, sum(map(width_of, children_of(node))))

    def place(node: trees.Tree, left: float, level: int, start: int) -> tuple[float, float, int]:
        """Draws a node from `left` on; returns its middle, its height, and the number of the word after it."""
        y = 16.0 + _LEVEL * (depth - 1 if node.is_leaf else level)
        if node.is_leaf:
            x = left + width_of(node) / 2
            drawn_labels.append(_text(x, y + 24, node.children[0], class_="word"))
            label(node, start, start + 1, x, y)
            return x, y, start + 1
        placed, position = [], start
        left += (width_of(node) - sum(map(width_of, children_of(node)))) / 2
        for child in children_of(node):
            x, child_y, position = place(child, left, level + 1, position)
            placed.append((x, child_y))
            left += width_of(child)
        middle = (placed[0][0] + placed[-1][0]) / 2
        for x, child_y in placed:  # a curve to the level below, then straight down to a word: lines do not cross
            bend, below = y + _LEVEL / 2, y + _LEVEL - 11
            curve = f"M{middle:.1f} {y + 11:.1f}C{middle:.1f} {bend:.1f} {x:.1f} {bend:.1f} {x:.1f} {below:.1f}"
            drawn_lines.append(element("path", d=f"{curve}V{child_y - 11:.1f}"))
        label(node, start, position, middle, y)
        return middle, y, position

    place(root, 0, 0, 0)
    height = 16 + _LEVEL * (depth - 1) + 44
    return _svg(width_of(root), height, f"Tree: {text}", drawn_lines, drawn_labels, class_="tree")


def _spans(root: trees.Tree) -> list[tuple[str, int, int]]:
    """Returns (label, first word, end) of all constituents and tags."""
    found: list[tuple[str, int, int]] = []

    def walk(node: trees.Tree, start: int) -> int:
        end = start
        for child in node.children:
            end = walk(child, end) if isinstance(child, trees.Tree) else end + 1
        found.append((node.label, start, end))
        return end

    walk(root, 0)
    return found
