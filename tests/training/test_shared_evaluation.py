"""An evaluation shared out over replicas and workers has the scores of one replica, to the bit."""

import functools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.evaluation.evaluate import combine_shares, evaluate, evaluate_share
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.training.devices import Cluster, Devices


class FakeWorkers:
    """Several workers in one process, each in a thread: their all-reduce adds up what all of them give."""

    def __init__(self, number):
        self.cluster = tuple(f"host{i}" for i in range(number))
        self.barrier = threading.Barrier(number, timeout=60)
        self.given = [None] * number

    def all_reduce(self, worker, rows):
        self.given[worker] = rows[0]
        self.barrier.wait()
        sums = [tf.add_n(column) for column in zip(*self.given, strict=True)]
        self.barrier.wait()
        return [sums for _ in rows]

    def run(self, work):
        """work(devices) on all workers."""

        def on_worker(index):
            devices = Devices(cluster=Cluster(self.cluster, index))
            devices.replicas = len(self.cluster)
            devices.all_reduce = functools.partial(self.all_reduce, index)
            return work(devices)

        with ThreadPoolExecutor(len(self.cluster)) as pool:
            return list(pool.map(on_worker, range(len(self.cluster))))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_gather_gives_the_values_of_all_workers_to_all(number):
    values = [{"a": [0.1, 1e-30, None, True]}, "é\n" * 3000, []]
    found = FakeWorkers(number).run(lambda devices: devices.gather(values[devices.worker]))
    assert found == [values[:number]] * number


@pytest.fixture(scope="module")
def evaluated(session_data, session_problems):
    """A model of two problems, of which one is decoded, and their data."""
    hparams = session_problems.session_tiny().replace(batch_max_examples=3)
    datasets = {name: Dataset.open(session_data, name) for name in ("session_reverse", "session_pictures")}
    random.seed(0)
    model = MultiModel(hparams, {name: data.problem for name, data in datasets.items()}, {"session": 280})
    return model, GreedyDecoder(model), datasets, hparams


@pytest.mark.parametrize("eval_steps", [None, 5])
def test_scores_are_equal_for_any_number_of_replicas_and_workers(evaluated, eval_steps):
    model, decoder, datasets, hparams = evaluated
    settings = (datasets, hparams, "dev", eval_steps)
    expected = evaluate(model, *settings, decoder=decoder)
    assert "wer" in expected["session_reverse"]
    with ThreadPoolExecutor(3) as pool:

        def run(work, batches):
            return list(pool.map(work, range(len(batches)), batches))

        for replicas, workers in ((3, 1), (2, 3)):
            shares = [
                evaluate_share([(model, decoder)] * replicas, *settings, run=run, part=(worker, workers))
                for worker in range(workers)
            ]
            assert combine_shares(shares, datasets) == expected
            sizes = [sum(map(len, share["session_reverse"])) for share in shares]
            assert max(sizes) - min(sizes) <= 1  # batches


def test_each_replica_has_its_own_batches(evaluated):
    model, _, datasets, hparams = evaluated
    asked, calls = [], []

    def run(work, batches):
        calls.append([None if batch is None else batch["index"].numpy().tolist() for batch in batches])
        return [work(i, batch) for i, batch in enumerate(batches)]

    evaluate_share(
        [(model, None)] * 2,
        {"session_pictures": datasets["session_pictures"]},
        hparams,
        before_batch=lambda: asked.append(len(calls)),
        run=run,
    )
    indices = [i for group in calls for batch in group if batch for i in batch]
    assert sorted(indices) == list(range(20))
    assert all(len(group) == 2 for group in calls) and calls[-1][-1] is None
    assert asked == list(range(len(calls)))
