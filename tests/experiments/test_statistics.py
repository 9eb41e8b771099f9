"""Means, spreads and the verdict better, worse or within the spread."""

import numpy as np
import pytest

from t2t_lite.experiments.statistics import compare, margin, mean, spread


def test_mean_and_spread_are_those_of_numpy():
    values = [2.31, 2.42, 2.29, 2.35]
    assert mean(values) == pytest.approx(np.mean(values))
    assert spread(values) == pytest.approx(np.std(values, ddof=1))
    assert spread([1.0]) is None


@pytest.mark.parametrize(("first", "second"), [(3, 3), (2, 3), (1, 3), (6, 7), (8, 9), (60, 60)])
def test_the_margin_is_that_of_the_t_test(first, second):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(first)
    these, others = rng.normal(2.0, 0.1, first), rng.normal(2.1, 0.1, second)
    expected = stats.ttest_ind(these, others).confidence_interval(0.95) if min(first, second) > 1 else None
    limit = margin(list(these), list(others))
    assert limit is not None
    if expected is not None:
        width = (expected.high - expected.low) / 2
        assert limit == pytest.approx(width, rel=1e-3)


def test_verdicts():
    better, close, worse = [1.0, 1.1, 0.9], [1.05, 1.15, 0.95], [2.0, 2.1, 1.9]
    assert compare(better, worse).verdict == "better"
    assert compare(worse, better).verdict == "worse"
    assert compare(better, close).verdict == "within the spread"
    assert compare(better, worse).difference == pytest.approx(1.0)
    assert compare([1.0], [2.0]).verdict == "one seed" and compare([1.0], [2.0]).margin is None
    assert compare([], better) is None


def test_equal_things_are_seldom_called_different():
    rng = np.random.default_rng(0)
    verdicts = [compare(list(rng.normal(0, 1, 3)), list(rng.normal(0, 1, 3))).verdict for _ in range(2000)]
    assert 0.02 < 1 - verdicts.count("within the spread") / 2000 < 0.08
