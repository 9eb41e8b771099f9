"""Reading against training: how much of the batches is padding, how much faster one core reads than training eats, and
how long training waits for its batches.

    python benchmarks/reading.py --problem=microworld --data_dir=data
"""

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HPARAMS_SET = "multimodel_tiny"
STEPS, FIRST_STEPS = 300, 100  # of training; the first are left out: graphs are built in them
BATCHES, FIRST_BATCHES = 200, 20  # read of each problem


def train(problem: str, data_dir: str, folder: str) -> dict[str, tuple[float, float]]:
    """{problem: (seconds a step, the share of them in which it waited for its batch)}, and of "all" together."""
    command = [sys.executable, "-m", "t2t_lite.bin.trainer", f"--problem={problem}", f"--data_dir={data_dir}"]
    command += [
        f"--output_dir={folder}",
        f"--hparams_set={HPARAMS_SET}",
        "--hparams=fine_buckets=true",
        f"--train_steps={STEPS}",
        "--eval_steps=1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    steps = collections.defaultdict(list)
    for line in Path(folder, "scalars.jsonl").read_text().splitlines():
        told = json.loads(line)
        if "input_seconds" in told and told["step"] > FIRST_STEPS:
            for name in (told["problem"], "all"):
                steps[name].append((told["step_seconds"], told["input_seconds"]))
    totals = {name: [sum(column) for column in zip(*found, strict=True)] for name, found in steps.items()}
    return {name: (step / len(steps[name]), wait / step) for name, (step, wait) in totals.items()}


def read(dataset: Any, hparams: Any) -> tuple[float, float]:
    """Seconds of the core's work that a batch of training takes, and the share of padding in texts and sounds."""
    from t2t_lite.monitoring.monitor import padding

    batches = iter(dataset.batches("train", hparams, shuffle=True, repeat=True))
    for _ in range(FIRST_BATCHES):
        next(batches)
    start = time.process_time()
    taken = [next(batches) for _ in range(BATCHES)]
    work = time.process_time() - start
    shares = [share for batch in taken for share in padding(dataset, batch).values()]
    return work / BATCHES, statistics.mean(shares or [0.0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problem", required=True)
    parser.add_argument("--data_dir", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = train(given.problem, given.data_dir, f"{folder}/run")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, before TensorFlow counts them

    from t2t_lite import registry
    from t2t_lite.data.reading import Dataset
    from t2t_lite.problems.problem import get_problems

    hparams = registry.hparams_sets.get(HPARAMS_SET)().replace(fine_buckets=True)
    print("problem                  step      batch   times  padding  waiting")
    for name in get_problems(given.problem.split(",")):
        if name in steps:
            work, padded = read(Dataset.open(given.data_dir, name), hparams)
            step, waiting = steps[name]
            times = step / work
            print(f"{name:20} {step:6.3f} s  {1000 * work:6.2f} ms  {times:6.0f}  {padded:7.1%}  {waiting:7.2%}")
    print(f"training waited for its batches in {steps['all'][1]:.2%} of its time")


if __name__ == "__main__":
    main()
