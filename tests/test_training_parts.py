"""The draw of problems."""

import collections

import pytest

from t2t_lite import registry
from t2t_lite.problems import Mixture
from t2t_lite.training.draw import ProblemDraw, mixture_rates

RATES = {"large": 0.6, "small": 0.3, "rare": 0.1}


def test_the_draw_depends_on_seed_and_step_alone():
    first, second = ProblemDraw(RATES, 1), ProblemDraw(RATES, 1)
    forwards = [first(step) for step in range(50)]
    backwards = [second(step) for step in reversed(range(50))][::-1]
    assert forwards == backwards
    assert forwards != [ProblemDraw(RATES, 2)(step) for step in range(50)]


def test_the_draw_follows_the_rates():
    draw = ProblemDraw(RATES, 0)
    drawn = collections.Counter(draw(step) for step in range(4000))
    for name, rate in RATES.items():
        assert drawn[name] / 4000 == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("steps", [0, 1, 137])
def test_counts_agree_with_the_draws(steps):
    draw = ProblemDraw(RATES, 3)
    drawn = collections.Counter(draw(step) for step in range(steps))
    assert draw.counts(steps) == {name: drawn[name] for name in RATES}


@pytest.fixture
def mixtures():
    with registry.mixtures.temporary(), registry.problems.temporary():
        for name in "abcd":
            registry.problems.register(object, name=name)
        registry.mixtures.register(Mixture({"a": 1, "b": 3}, "Two."), name="two")
        registry.mixtures.register(Mixture({"two": 2, "c": 2}, "Nested."), name="nested")
        yield


@pytest.mark.parametrize(
    "names,expected",
    [
        (["a"], {"a": 1.0}),
        (["a", "b"], {"a": 0.5, "b": 0.5}),
        (["two"], {"a": 0.25, "b": 0.75}),
        (["nested"], {"a": 0.125, "b": 0.375, "c": 0.5}),
        # A mixture counts as many times as it has problems.
        (["two", "d"], {"a": 2 / 3 / 4, "b": 2 / 3 * 3 / 4, "d": 1 / 3}),
        (["nested", "d"], {"a": 0.75 / 8, "b": 0.75 * 3 / 8, "c": 0.75 / 2, "d": 0.25}),
        (["two", "a"], {"a": 2 / 3 / 4 + 1 / 3, "b": 2 / 3 * 3 / 4}),
    ],
)
def test_mixture_rates(mixtures, names, expected):
    rates = mixture_rates(names)
    assert rates == pytest.approx(expected)
    assert sum(rates.values()) == pytest.approx(1.0)
