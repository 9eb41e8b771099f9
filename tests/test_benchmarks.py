"""Each benchmark runs once at a tiny size."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import conftest
import pytest
from checks import eagerly

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    "name,printed",
    [
        ("experts", "E   5: "),
        ("dilated_convolution", "length  64: "),
        ("decoding", "outputs of 4 tokens, over those of 2: "),
        ("tracing", "first step of shapes, over that: "),
        pytest.param("replicas", "2 replicas: first step ", marks=pytest.mark.slow),
        ("optimizers", "a training step with the moving average, over one without: "),
        ("reading", "memory for the index and a plan: "),
        ("generation", "speed over that of sentencepiece alone: "),
        pytest.param("base", "parsing_wsj                  1 x   4: ", marks=pytest.mark.slow),
    ],
)
def test_benchmark_runs(name, printed, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    with eagerly():
        importlib.import_module(name).main(["--tiny"])
    assert printed in capsys.readouterr().out


def run(name, *flags):
    """Runs a benchmark in a process of its own; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_memory_of_generation():
    assert "peak memory: " in run("generation", "--memory=300")


@pytest.mark.slow
def test_reading(session_data):
    output = run(
        "reading",
        "--problem=session",
        f"--data_dir={session_data}",
        f"--t2t_usr_dir={conftest.USR_SESSION}",
        "--hparams_set=session_tiny",
        "--train_steps=6",
        "--batches=3",
    )
    assert "training waited for its batches in " in output


@pytest.mark.slow
def test_serving(fake_export):
    output = run("serving", f"--export_dir={fake_export}", "--clients=4", "--seconds=1", "--inputs=2")
    assert "wrong, refused or lost: 0" in output
