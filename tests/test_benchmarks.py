"""Each benchmark runs once at a tiny size; the runner's table and the comparison of two revisions."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import conftest
import pytest
from checks import eagerly

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.parametrize(
    "name,question",
    [
        ("training", "training step, D=8, "),
        ("accumulation", "a step of 2 micro-batches of 1 x 2 positions"),
        ("joint", "a step of each of microworld's 2 problems"),
        ("tracing", "first step of a further translation problem"),
        ("optimizers", "training step, multimodel_tiny, 8 x 20 positions, with the moving average"),
        ("decoding", "beam search, 4 beams, D=8, "),
        ("experts", "layer of E=5 experts"),
        ("dilated_convolution", "dilated convolution, D=4, 15 taps, dilation 8, 64 positions, length 64"),
        ("reading", "memory of the index of 10,000 pairs"),
        ("generation", "generating 500 translation pairs"),
        pytest.param("replicas", "CPU time of a later step with 2 replicas", marks=pytest.mark.slow),
        pytest.param("base", "training step of parsing_wsj", marks=pytest.mark.slow),
        pytest.param("first_step", "peak memory of that training", marks=pytest.mark.slow),
    ],
)
def test_benchmark_runs(name, question, load):
    with eagerly():
        results = list(load(name).rows("tiny"))
    assert any(result.question.startswith(question) for result in results)
    for row in results:
        assert hasattr(row, "reason") or (row.measured >= 0 and row.ratio >= 0)


def test_runner_writes_rows_that_were_measured_on_the_present_code(load, tmp_path, capsys):
    run = load("run")
    assert run.main(["--tiny", "--only=reading", f"--out={tmp_path}"]) == 0
    path = tmp_path / "results.json"
    results = json.loads(path.read_text())
    assert results["benchmarks"].keys() == {"reading"} and results["machine"]["cores"]
    assert "| memory of the index of 10,000 pairs" in (tmp_path / "RESULTS.md").read_text()

    results["benchmarks"]["made_up"] = results["benchmarks"]["reading"] | {
        "rows": [{"question": "made up", "reason": "none"}]
    }
    path.write_text(json.dumps(results))
    assert run.main(["--tiny", "--only=reading", f"--out={tmp_path}"]) == 0
    assert "- made up: none." in (tmp_path / "RESULTS.md").read_text()
    path.write_text(json.dumps(results | {"code": "of another day"}))
    assert run.main(["--tiny", "--only=reading", f"--out={tmp_path}"]) == 0
    assert "made up" not in (tmp_path / "RESULTS.md").read_text()

    with pytest.raises(SystemExit):
        run.main(["--only=raeding"])
    assert "there is no benchmark 'raeding'" in capsys.readouterr().err


def test_table_says_what_is_doubtful_or_missing(load):
    run, measure = load("run"), load("measure")
    reached = measure.Row("step", 12.0, "ms", "speed", 0.4, 0.01, 0.3, more_is_better=True)
    fast = measure.Row("first", 900.0, "ms", "product", 9.0, None, 1.0, target_unit="s")
    missed = measure.Row("second", 80.0, "answers/s", "product", 9.0, None, 250.0, True, "answers/s")
    rows = [measure.to_json(row) for row in (reached, fast, missed, measure.LeftOut("bfloat16", "too slow"))]
    done = {"seconds": 60.0, "cpu_seconds": 100.0, "other_cores": 0.1, "error": None, "rows": rows}
    failed = done | {"error": "exit status 1", "rows": []}
    results = run.describe_run("full") | {"load_before": 0.1, "benchmarks": {"training": done}}
    text = run.table(results)
    assert "| step | 12 ms | speed | **0.4** | ≥ 0.3 | 1% |" in text and "- bfloat16: too slow." in text
    assert "| first | **900 ms** | product | 9 | ≤ 1 s |  |" in text
    assert "| second | 80 answers/s | product | 9 | ≥ 250 answers/s |  |" in text
    assert "not idle" not in text
    text = run.table(results | {"load_before": 1.7, "benchmarks": {"joint": failed}})
    assert "- `joint.py`: exit status 1." in text and "not idle" in text


def test_comparison_tells_what_became_slower_by_more_than_the_spread(load):
    compare, measure = load("compare"), load("measure")

    def run(**measured):
        return {
            name: measure.Row(name, value, "tokens/s" if name == "speed" else unit, "", 1.0, 0.03)
            for name, (value, unit) in measured.items()
        }

    before = [run(step=(990, "ms"), speed=(100, ""), noisy=(1, "s"), gone=(1, "s")), run(noisy=(1.3, "s"))]
    after = [run(step=(1.1, "s"), speed=(90, ""), noisy=(1.2, "s"), new=(1, "s"))]
    lines, slower = compare.compare(before, after)
    assert slower == ["step", "speed", "gone"]
    assert [line.split()[0] for line in lines] == ["SLOWER", "SLOWER", "the", "NOT", "only"]
    assert compare.compare(after, [run(step=(0.9, "s"), speed=(90, ""), noisy=(1.2, "s"), new=(1, "s"))])[1] == []


def run_alone(name, *flags):
    """Runs a benchmark in a process of its own; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_memory_of_generation():
    assert "peak memory: " in run_alone("generation", "--memory=300")


@pytest.mark.slow
def test_reading(session_data):
    output = run_alone(
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
    output = run_alone("serving", f"--export_dir={fake_export}", "--clients=4", "--seconds=1", "--inputs=2")
    assert "wrong, refused or lost: 0" in output


@pytest.mark.slow
def test_comparison_of_two_revisions():
    if not (BENCHMARKS.parent / ".git").exists():
        pytest.skip("not a git checkout")
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--base=HEAD", "--only=reading", "--rounds=1", "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert re.search(r"^(the same|faster|SLOWER) .*memory of the index of 10,000 pairs", done.stdout, re.MULTILINE)
