"""How figures are written: names and formats of metrics, numbers of any size."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """How a metric is shown."""

    title: str
    format: str
    higher_is_better: bool


METRICS = {  # those of decoded answers first; the first that a problem has is its main figure
    "bleu": Metric("BLEU", "{:.1f}", True),
    "cider_d": Metric("CIDEr-D", "{:.2f}", True),
    "wer": Metric("word errors", "{:.1%}", False),
    "cer": Metric("character errors", "{:.1%}", False),
    "accuracy_trees": Metric("whole trees", "{:.1%}", True),
    "bracket_f1": Metric("bracket F1", "{:.1%}", True),
    "complete_match": Metric("all brackets", "{:.1%}", True),
    "chrf": Metric("chrF", "{:.1f}", True),
    "accuracy": Metric("accuracy", "{:.1%}", True),
    "accuracy_top5": Metric("top 5", "{:.1%}", True),
    "accuracy_per_sequence": Metric("whole answers", "{:.1%}", True),
    "loss": Metric("loss", "{:.3f}", False),
}
_NOT_METRICS = ("step", "examples", "log_perplexity", "answers", "answers_cut", "answers_empty", "too_long")


def metrics_of(scores: Mapping[str, Any]) -> dict[str, Metric]:
    """Returns the metrics in some scores, the main one first; those of the user's own come last."""
    known = {key: metric for key, metric in METRICS.items() if is_number(scores.get(key))}
    own = {
        key: Metric(key.replace("_", " "), "{:.3f}", True)
        for key, value in scores.items()
        if key not in METRICS and key not in _NOT_METRICS and is_number(value)
    }
    return known | own


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: float) -> str:
    """Formats a number with about three digits."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3f}" if size else "0"


def compact(value: float) -> str:
    """Formats a value of an axis."""
    return f"{value:,.6g}"


def percent(value: float) -> str:
    """Formats a fraction as a percentage without digits after the point."""
    return f"{100 * value:.0f}%"


def compact_percent(value: float) -> str:
    """Formats a fraction on an axis."""
    return f"{100 * value:.5g}%"


def signed(digits: int) -> Callable[[float], str]:
    """Returns a format for differences."""
    return lambda value: f"{value:+.{digits}f}"


def size(count: int) -> str:
    """Formats a number of parameters: `950`, `12.3 thousand`, `4.56 million`."""
    for unit, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return str(count)
