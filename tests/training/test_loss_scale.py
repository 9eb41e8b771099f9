"""The loss scale of float16, and the count of bad steps."""

import pytest
from checks import SMALL

from t2t_lite.training.loss_scale import LossScale

FLOAT16 = SMALL.replace(precision="float16")


def counts(scale):
    return float(scale.scale), int(scale.skipped), int(scale.in_row), int(scale.good_steps)


def test_starts_at_two_to_the_fifteenth_in_float16_and_at_one_otherwise():
    assert counts(LossScale(FLOAT16)) == (32768.0, 0, 0, 0)
    for precision in ("float32", "bfloat16"):
        assert counts(LossScale(SMALL.replace(precision=precision))) == (1.0, 0, 0, 0)


def test_doubles_after_two_thousand_good_steps_in_a_row():
    scale = LossScale(FLOAT16)
    scale.good_steps.assign(1998)
    scale.record_applied()
    assert counts(scale) == (32768.0, 0, 0, 1999)
    scale.record_applied()
    assert counts(scale) == (65536.0, 0, 0, 0)
    scale.record_applied()
    scale.record_skipped(loss_is_finite=True)
    assert counts(scale) == (32768.0, 1, 0, 0)


def test_stays_between_one_and_two_to_the_twenty_fourth():
    scale = LossScale(FLOAT16)
    scale.scale.assign(2.0**24)
    scale.good_steps.assign(1999)
    scale.record_applied()
    assert float(scale.scale) == 2.0**24
    scale.scale.assign(1.5)
    scale.record_skipped(loss_is_finite=True)
    assert counts(scale) == (1.0, 1, 0, 0)
    scale.record_skipped(loss_is_finite=True)  # a smaller scale no longer helps: the step counts as bad
    assert counts(scale) == (1.0, 2, 1, 0)


@pytest.mark.parametrize("precision,loss_is_finite", [("float32", True), ("float32", False), ("float16", False)])
def test_counts_the_bad_steps_that_a_smaller_scale_does_not_mend(precision, loss_is_finite):
    scale = LossScale(SMALL.replace(precision=precision))
    before = float(scale.scale)
    scale.record_skipped(loss_is_finite)
    scale.record_skipped(loss_is_finite)
    assert counts(scale)[:3] == (before, 2, 2)
    scale.record_applied()
    assert counts(scale)[:3] == (before, 2, 0)
