"""The learning rate at given steps."""

import numpy as np
import pytest
from checks import SMALL

from t2t_lite.hparams import HParams
from t2t_lite.training.schedule import learning_rate


@pytest.mark.parametrize(
    "schedule,expected",  # the rates of the steps 0, 4, 9, 39, 59, 109 and 209, of a peak of 1
    [
        ("constant", [0.1, 0.5, 1, 1, 1, 1, 1]),
        ("rsqrt", [0.1, 0.5, 1, 0.5, (1 / 6) ** 0.5, (1 / 11) ** 0.5, (1 / 21) ** 0.5]),
        ("linear", [0.1, 0.5, 1, 0.7, 0.5, 0, 0]),
        ("cosine", [0.1, 0.5, 1, 0.5 + 0.5 * np.cos(0.3 * np.pi), 0.5, 0, 0]),
        # A hidden size of 16 and a warm-up of 10: at its peak 16^-0.5 * 10^-0.5.
        ("noam", [10**-1.5 / 4, 5 * 10**-1.5 / 4, 10**-0.5 / 4, *(t**-0.5 / 4 for t in (40, 60, 110, 210))]),
    ],
)
def test_learning_rate(schedule, expected):
    hparams = SMALL.replace(learning_rate=1.0, schedule=schedule, warmup_steps=10, decay_steps=110)
    rates = [learning_rate(hparams, step) for step in (0, 4, 9, 39, 59, 109, 209)]
    assert rates == pytest.approx(expected, abs=1e-12)
    assert [learning_rate(hparams.replace(learning_rate=3.0), step) for step in (0, 209)] == pytest.approx(
        [3 * rates[0], 3 * rates[-1]]
    )


def test_noam_equals_attention_is_all_you_need():
    """With d_model 512 and 4,000 steps of warm-up."""
    hparams = HParams(hidden_size=512, learning_rate=1.0, schedule="noam", warmup_steps=4000)
    assert learning_rate(hparams, 3999) == pytest.approx(6.99e-4, rel=1e-3)
    assert learning_rate(hparams, 99_999) == pytest.approx(1.398e-4, rel=1e-3)


@pytest.mark.parametrize("schedule", ["constant", "rsqrt", "linear", "cosine"])
def test_without_warm_up_it_starts_at_the_peak(schedule):
    hparams = SMALL.replace(learning_rate=0.3, schedule=schedule, warmup_steps=0, decay_steps=10_000)
    assert learning_rate(hparams, 0) == pytest.approx(0.3, rel=1e-3)
