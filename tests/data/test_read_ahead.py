"""Reading ahead for many problems: order, bounds on threads and memory, errors."""

import subprocess
import sys
import threading
import time

import conftest
import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.data import read_ahead
from t2t_lite.data.read_ahead import STEPS, THREADS, ReadAhead
from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.hparams import HParams

NAMES = ["tiny_reverse", "tiny_pictures", "tiny_sounds"]
HPARAMS = HParams(batch_tokens=200, batch_max_examples=16)


class Loaders:
    """Loaders of many problems, which remember what was read."""

    def __init__(self, number, size=1):
        self.read, self.alive, self.most = [], 0, 0
        self.lock = threading.Lock()
        self.size = size
        self.by_name = {f"p{i}": lambda n, name=f"p{i}": self.load(name, n) for i in range(number)}

    def load(self, name, number):
        with self.lock:
            self.read.append((name, number))
            self.alive += 1
            self.most = max(self.most, self.alive)
        time.sleep(0.001)
        with self.lock:
            self.alive -= 1
        return {"inputs": tf.fill([self.size], number)}


def drawn(number, steps, seed=0):
    return [f"p{i}" for i in np.random.default_rng(seed).integers(0, number, steps)]


@pytest.mark.parametrize("number", [1, 2, 50])
def test_each_problem_gets_its_batches_in_order_and_few_are_read_ahead(number):
    loaders, order = Loaders(number), drawn(number, 120)
    first = {name: 7 for name in loaders.by_name}
    expected = dict(first)
    with ReadAhead(loaders.by_name, first) as batches:
        for step, name in enumerate(order):
            batch = batches.next(name, order[step + 1 : step + 1 + STEPS])
            assert batch["inputs"].numpy().tolist() == [expected[name]]
            expected[name] += 1
            assert len(loaders.read) <= step + 1 + STEPS
    assert sorted(loaders.read) == sorted((name, n) for name in expected for n in range(7, expected[name]))
    assert loaders.most <= THREADS


def test_wrong_guesses_of_the_coming_steps_change_nothing():
    loaders, order = Loaders(5), drawn(5, 60)
    guesses = drawn(5, 60 + STEPS, seed=1)
    expected = dict.fromkeys(loaders.by_name, 0)
    with ReadAhead(loaders.by_name, expected) as batches:
        for step, name in enumerate(order):
            batch = batches.next(name, guesses[step + 1 : step + 1 + STEPS])
            assert batch["inputs"].numpy().tolist() == [expected[name]]
            expected[name] += 1
            assert len(batches._read) <= STEPS


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(read_ahead, "_MAX_BYTES", 3 * 400)
    loaders, order = Loaders(2, size=100), drawn(2, 40)  # batches of 400 bytes
    with ReadAhead(loaders.by_name, {"p0": 0, "p1": 0}) as batches:
        for step, name in enumerate(order):
            batches.next(name, order[step + 1 : step + 1 + STEPS])
            if step > STEPS:
                assert len(batches._read) == min(3, len(order) - step - 1)


def test_an_error_is_raised_where_the_batch_is_used():
    def load(number):
        if number == 2:
            raise tf.errors.DataLossError(None, None, "damaged")
        return {"inputs": tf.fill([1], number)}

    with ReadAhead({"p": load}, {"p": 0}) as batches:
        for _ in range(2):
            batches.next("p", ["p"] * STEPS)
        with pytest.raises(tf.errors.DataLossError, match="damaged"):
            batches.next("p", ["p"] * STEPS)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, tiny_problems):
    folder = tmp_path_factory.mktemp("data")
    generate(NAMES, folder, folder, num_workers=1)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_gives_the_batches_of_tf_data(data_dir, name):
    dataset = Dataset.open(data_dir, name)
    options = {"shuffle": True, "repeat": True, "seed": 6}
    expected = list(dataset.batches("train", HPARAMS, skip=3, **options).take(30).as_numpy_iterator())
    with ReadAhead({name: dataset.loader("train", HPARAMS, **options)}, {name: 3}) as batches:
        for batch in expected:
            found = batches.next(name, [name] * STEPS)
            assert found.keys() == batch.keys()
            for key, value in batch.items():
                np.testing.assert_array_equal(found[key], value)


@pytest.mark.slow
def test_fifty_problems_have_the_threads_and_graphs_of_one(data_dir):
    code = """
import os, sys
import numpy as np
from t2t_lite import registry
from t2t_lite.data.read_ahead import STEPS, ReadAhead
from t2t_lite.data.reading import Dataset, _traced_load
from t2t_lite.hparams import HParams
registry.import_usr_dirs([sys.argv[1]])
hparams = HParams(batch_tokens=200, batch_max_examples=16)
def threads():
    return int(next(l for l in open("/proc/self/status") if l.startswith("Threads")).split()[1])
def read(number):
    datasets = {f"p{i}": Dataset.open(sys.argv[2], "tiny_reverse") for i in range(number)}
    loaders = {name: d.loader("train", hparams, shuffle=True, repeat=True) for name, d in datasets.items()}
    order = 4 * list(loaders)
    with ReadAhead(loaders, dict.fromkeys(loaders, 0)) as batches:
        for step, name in enumerate(order):
            batches.next(name, order[step + 1 : step + 1 + STEPS])
        return threads(), len({id(d.vocabularies["tiny"]) for d in datasets.values()})
first, _ = read(1)
fifty, vocabularies = read(50)
load = _traced_load(Dataset.open(sys.argv[2], "tiny_reverse")._parser, True, False)
traces = [function.experimental_get_tracing_count() for function in load]
print(fifty - first, len(os.listdir("/proc/self/fd")), max(traces), vocabularies)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, conftest.USR, str(data_dir)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    threads, files, traces, vocabularies = map(int, done.stdout.split())
    assert threads <= 2
    assert files < 400
    assert traces == vocabularies == 1
