"""HTML elements as text. Text of users is escaped wherever it enters."""

import html
from typing import Any

from t2t_lite.escapes import escape_controls


class Html(str):
    """Markup that is safe to insert as it is."""


def text(value: Any) -> Html:
    """Escapes a value for content and attributes; control characters become Python escapes."""
    return value if isinstance(value, Html) else Html(html.escape(escape_controls(str(value))))


def join(*children: Any) -> Html:
    """Joins markup and text, which is escaped; leaves out None; joins the items of lists."""
    parts = (
        join(*child) if isinstance(child, list | tuple) else text(child) for child in children if child is not None
    )
    return Html("".join(parts))


def element(name: str, *children: Any, **attributes: Any) -> Html:
    """Returns an element: `element("td", "a < b", class_="number")`.

    Attributes that are None are left out; the underscores of their names become hyphens, a last one is dropped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def table(heading: list[Any], rows: list[list[Any]], class_: str | None = None) -> Html:
    """Returns a table that scrolls sideways on a narrow screen. The first cell of a row is its heading.

    On a narrow screen headings of rows break after underscores.
    """
    head = element("thead", element("tr", [element("th", cell, scope="col") for cell in heading]))
    body = [
        element(
            "tr",
            element("th", Html(text(row[0]).replace("_", "_<wbr>")), scope="row"),
            [element("td", cell) for cell in row[1:]],
        )
        for row in rows
    ]
    return scroll(element("table", head, element("tbody", body), class_=class_))


def scroll(*children: Any) -> Html:
    """Returns a box whose content scrolls sideways where it is wider than the screen."""
    return element("div", *children, class_="scroll", tabindex="0")


def missing(line: str) -> Html:
    """Returns a line about what cannot be shown."""
    return element("p", line, class_="missing")


def hint(line: str) -> Html:
    """Returns a line that explains what follows."""
    return element("p", line, class_="hint")


def details(summary: str, *children: Any) -> Html:
    """Returns content that opens with a click on its summary."""
    return element("details", element("summary", summary), *children)
