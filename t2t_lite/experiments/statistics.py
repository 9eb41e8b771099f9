"""Mean and standard deviation over seeds, and whether two sets of seeds differ by more than the margin."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

RULE = (
    "Figures are means over seeds ± the sample standard deviation. Comparisons are of log-perplexity on the test "
    "split. A difference of two means is within the spread if it is at most the margin, the half-width of its 95% "
    "confidence interval (Student's t, pooled variance); beyond it the first is better or worse. With one seed there "
    "is no margin and no verdict."
)
# Quantile 0.975 of Student's t by degrees of freedom, from 1.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.959964  # the same of the normal distribution


def mean(values: Sequence[float]) -> float:
    """Returns the mean."""
    return math.fsum(values) / len(values)


def spread(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation; None of fewer than two values."""
    if len(values) < 2:
        return None
    center = mean(values)
    return math.sqrt(math.fsum((value - center) ** 2 for value in values) / (len(values) - 1))


def margin(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Returns the half-width of the 95% confidence interval of the difference of two means.

    None if both have fewer than two values.
    """
    freedom = len(first) + len(second) - 2
    if freedom < 1 or not first or not second:
        return None
    squares = sum((len(values) - 1) * (spread(values) or 0.0) ** 2 for values in (first, second))
    return _t_quantile(freedom) * math.sqrt(squares / freedom * (1 / len(first) + 1 / len(second)))


def _t_quantile(freedom: int) -> float:
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, n = _NORMAL, freedom  # the expansion of Abramowitz and Stegun, 26.7.5; its error is below 0.0002 from n = 11
    second, third = 5 * z**5 + 16 * z**3 + 3 * z, 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    return z + (z**3 + z) / (4 * n) + second / (96 * n**2) + third / (384 * n**3)


@dataclass(frozen=True)
class Comparison:
    """How the mean of one set of seeds compares to that of another, by a figure of which less is better."""

    difference: float  # mean of the others minus mean of these: above 0, these are better
    margin: float | None  # differences up to this are within the spread; None: one seed each
    verdict: str  # "better", "worse", "within the spread", or "one seed"


def compare(these: Sequence[float], others: Sequence[float]) -> Comparison | None:
    """Compares log-perplexities; None if one of the sets is empty."""
    if not these or not others:
        return None
    difference, limit = mean(others) - mean(these), margin(these, others)
    if limit is None:
        return Comparison(difference, None, "one seed")
    if abs(difference) <= limit:
        return Comparison(difference, limit, "within the spread")
    return Comparison(difference, limit, "better" if difference > 0 else "worse")
