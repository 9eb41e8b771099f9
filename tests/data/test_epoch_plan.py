"""The plan of an epoch: every record once, for any sizes and seeds; its order, padding, time and memory."""

import time
import tracemalloc

import numpy as np
import pytest

from t2t_lite.data import epoch_plan
from t2t_lite.data.epoch_plan import EpochPlans
from t2t_lite.data.record_index import RecordIndex


def make_index(number, longest=40, seed=0):
    """An index of texts whose sides have similar lengths."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(1, longest + 1, number, dtype=np.uint16)
    targets = np.clip(inputs + rng.integers(-5, 6, number), 1, longest).astype(np.uint16)
    return RecordIndex(np.arange(number, dtype=np.uint32), inputs, targets, rng.random(number) < 0.9)


def epoch(plans, number):
    return [plans.batch(number, n) for n in range(plans.batches_in_epoch)]


SIZES = {8: 16, 16: 12, 32: 6, 40: 5}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(epoch_plan, "CHUNK", 100)


class TestEpoch:
    @pytest.mark.parametrize("number", [1, 2, 5, 99, 100, 101, 997])
    @pytest.mark.parametrize("seed", [None, 0, -3])
    @pytest.mark.parametrize("drop_long,by_difference", [(False, False), (True, True), (False, True)])
    def test_has_every_record_once(self, number, seed, drop_long, by_difference):
        index = make_index(number)
        plans = EpochPlans(index, SIZES, seed=seed, drop_long=drop_long, by_difference=by_difference)
        expected = np.flatnonzero(index.fits) if drop_long else np.arange(number)
        longer = np.maximum(index.inputs, index.targets)
        for n in (0, 1):
            batches = epoch(plans, n)
            assert sorted(np.concatenate([[], *batches])) == expected.tolist()
            smaller = []
            for batch in batches:
                (bucket,) = set(np.searchsorted(list(SIZES), longer[batch]))
                size = list(SIZES.values())[bucket]
                assert len(batch) <= size
                smaller += [bucket] * (len(batch) < size)
            assert len(smaller) == len(set(smaller))  # one of each bucket at most

    def test_depends_on_seed_and_epoch_alone(self):
        index = make_index(500)

        def batches(seed, number):
            return [b.tolist() for b in epoch(EpochPlans(index, SIZES, seed=seed, by_difference=True), number)]

        plans = EpochPlans(index, SIZES, seed=1, by_difference=True)
        for number in (7, 3, 0, 3):
            assert [b.tolist() for b in epoch(plans, number)] == batches(1, number)
        assert batches(1, 0) != batches(1, 1) != batches(2, 1)

    def test_is_drawn_over_the_whole_split(self):
        """The first batches have records from everywhere, and those of a batch are not neighbours."""
        plans = EpochPlans(make_index(20_000), SIZES, seed=1)
        batches = epoch(plans, 0)
        first = np.concatenate(batches[:400])
        np.testing.assert_allclose(np.quantile(first, [0.25, 0.5, 0.75]), [5000, 10000, 15000], atol=700)
        assert np.mean([np.ptp(batch) for batch in batches if len(batch) > 1]) > 10_000

    def test_keeps_the_order_of_the_split_without_a_seed(self):
        batches = epoch(EpochPlans(make_index(500), SIZES), 0)
        full = [batch for batch in batches if len(batch) in SIZES.values()]
        assert all((np.diff(batch.astype(int)) > 0).all() for batch in batches)
        lasts = [int(batch[-1]) for batch in full[:-4]]
        assert lasts == sorted(lasts)

    def test_grouping_by_difference_pads_the_shorter_side_less(self):
        index = make_index(5000)
        padding = []
        for by_difference in (False, True):
            batches = epoch(EpochPlans(index, {n: 16 for n in range(1, 41)}, seed=0, by_difference=by_difference), 0)
            padding.append(sum(int(side[b].max()) * len(b) for b in batches for side in (index.inputs, index.targets)))
        total = index.inputs.sum() + index.targets.sum()
        assert padding[1] - total < 0.5 * (padding[0] - total)


@pytest.mark.parametrize(
    "number,seconds,megabytes",
    [(5_000_000, 15, 100), pytest.param(40_000_000, 60, 500, marks=pytest.mark.slow)],
)
def test_a_large_split_is_planned_in_seconds(number, seconds, megabytes, monkeypatch):
    """The limit of time leaves room for a busy machine: idle, 40 million take under 10 seconds."""
    monkeypatch.undo()
    index = make_index(number)
    tracemalloc.start()
    try:
        start = time.monotonic()
        plans = EpochPlans(index, {n: 4096 // n for n in range(4, 41)}, seed=3, by_difference=True)
        plans.batch(5, 1234)
        plans.batch(6, 0)
        taken, peak = (time.monotonic() - start) / 2, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert taken < seconds and peak < megabytes, (taken, peak)
