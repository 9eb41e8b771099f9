"""A run of fifty problems starts with the threads, graphs and open files of a run of eight."""

import os
import shutil
from pathlib import Path

import pytest
from tensorflow.python.framework import func_graph

from t2t_lite import registry
from t2t_lite.bin import trainer
from t2t_lite.data.reading import _traced_load
from t2t_lite.datagen.generate import generate
from t2t_lite.problems import Problem, Text
from t2t_lite.training.step import TrainStep

NAMES = [f"many_{i:02d}" for i in range(50)]


class Many(Problem):
    inputs = targets = Text("many", 270, max_length=8)
    command = "repeat"

    def examples(self, split, raw_dir):
        return ({"inputs": "ab"[: n % 2 + 1], "targets": "ba"[: n % 2 + 1]} for n in range(8))


@pytest.fixture
def data_dir(tmp_path):
    """The records of fifty problems, copied from those of the first."""
    with registry.problems.temporary():
        for name in NAMES:
            registry.problems.register(type(name, (Many,), {"__doc__": "One of many."}), name=name)
        generate(NAMES[:1], tmp_path, tmp_path, num_workers=1)
        for path in list(tmp_path.glob(f"{NAMES[0]}*")):
            for name in NAMES[1:]:
                copy = tmp_path / path.name.replace(NAMES[0], name)
                shutil.copyfile(path, copy)
                if path.suffix == ".json":
                    copy.write_text(path.read_text().replace(NAMES[0], name))
        yield tmp_path


class FirstStep(Exception):
    """Ends a training after its first step."""


def first_step(data_dir, number, monkeypatch):
    """Trains a step; returns the graphs traced before it ended, and its threads and open files."""
    graphs, found = [], []
    trace, step = func_graph.func_graph_from_py_func, TrainStep.__call__

    def traced(name, *arguments, **options):
        graphs.append(name)
        return trace(name, *arguments, **options)

    def stepped(self, *arguments):
        figures = step(self, *arguments)
        status = Path("/proc/self/status").read_text()
        threads = int(status.partition("Threads:")[2].split()[0])
        found.append((len(graphs), threads, len(os.listdir("/proc/self/fd"))))
        assert figures["skipped"] == 0
        raise FirstStep

    _traced_load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(func_graph, "func_graph_from_py_func", traced)
        patch.setattr(TrainStep, "__call__", stepped)
        flags = [f"--problem={','.join(NAMES[:number])}", f"--data_dir={data_dir}", f"--output_dir={data_dir}/{number}"]
        flags += ["--hparams_set=multimodel_tiny", "--train_steps=1", f"--eval_problems={NAMES[0]}", "--eval_steps=1"]
        sizes = "hidden_size=8,filter_size=8,num_heads=1,encoder_blocks=1,mixer_blocks=1,decoder_blocks=1"
        with pytest.raises(FirstStep):
            trainer.main([*flags, f"--hparams={sizes},attention_conv_blocks=1,use_experts=false,batch_tokens=32"])
    (step_figures,) = found
    return step_figures


@pytest.mark.slow
def test_the_first_step_of_fifty_problems_costs_that_of_eight(data_dir, monkeypatch):
    graphs, threads, files = first_step(data_dir, 8, monkeypatch)
    found = first_step(data_dir, 50, monkeypatch)
    assert graphs > 5
    assert found[0] <= graphs
    assert found[1] <= threads + 2
    assert found[2] <= files + 50  # a shard of each problem at most
