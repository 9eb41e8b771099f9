"""Reading of training batches: padding, CPU time of a batch over a training step, and how long training waits.

python benchmarks/reading.py --problem=microworld --data_dir=data [--hparams=fine_buckets=false]
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


def train(flags: argparse.Namespace, folder: str) -> dict[str, tuple[float, float]]:
    """Trains, and returns {problem: (seconds per step, fraction of them spent waiting)}; "all" is over all problems."""
    command = [sys.executable, "-m", "t2t_lite.bin.trainer", f"--problem={flags.problem}"]
    command += [
        f"--data_dir={flags.data_dir}",
        f"--output_dir={folder}",
        *([f"--t2t_usr_dir={flags.t2t_usr_dir}"] if flags.t2t_usr_dir else []),
        f"--hparams_set={flags.hparams_set}",
        f"--hparams={flags.hparams}",
        f"--train_steps={flags.train_steps}",
        "--eval_steps=1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    steps = collections.defaultdict(list)
    for line in Path(folder, "scalars.jsonl").read_text().splitlines():
        scalars = json.loads(line)
        # The first third of the steps is left out: graphs are traced in it.
        if "input_seconds" in scalars and scalars["step"] > flags.train_steps // 3:
            for name in (scalars["problem"], "all"):
                steps[name].append((scalars["step_seconds"], scalars["input_seconds"]))
    totals = {name: [sum(column) for column in zip(*rows, strict=True)] for name, rows in steps.items()}
    return {name: (step / len(steps[name]), wait / step) for name, (step, wait) in totals.items()}


def read(dataset: Any, hparams: Any, batches: int) -> tuple[float, float]:
    """CPU seconds of one training batch, and the fraction of padding in texts and sounds."""
    from t2t_lite.monitoring.monitor import padding

    iterator = iter(dataset.batches("train", hparams, shuffle=True, repeat=True))
    for _ in range(batches // 10):  # warm-up: filling the shuffle buffer
        next(iterator)
    start = time.process_time()
    read_batches = [next(iterator) for _ in range(batches)]
    cpu_seconds = time.process_time() - start
    fractions = [fraction for batch in read_batches for fraction in padding(dataset, batch).values()]
    return cpu_seconds / batches, statistics.mean(fractions or [0.0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problem", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--t2t_usr_dir", default="")
    parser.add_argument("--hparams_set", default="multimodel_tiny")
    parser.add_argument("--hparams", default="fine_buckets=true")
    parser.add_argument("--train_steps", type=int, default=300)
    parser.add_argument("--batches", type=int, default=200, help="batches to read of each problem")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = train(flags, f"{folder}/run")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, set before TensorFlow counts them

    from t2t_lite import registry
    from t2t_lite.data.reading import Dataset
    from t2t_lite.hparams.hparams import override
    from t2t_lite.problems.problem import get_problems

    registry.import_usr_dirs([folder for folder in flags.t2t_usr_dir.split(",") if folder])
    hparams = override(registry.hparams_sets.get(flags.hparams_set)(), flags.hparams)
    print("problem                  step      batch   ratio  padding  waiting")
    for name in get_problems(flags.problem.split(",")):
        if name in steps:
            cpu_seconds, padded = read(Dataset.open(flags.data_dir, name), hparams, flags.batches)
            step, waiting = steps[name]
            ratio = step / cpu_seconds
            print(f"{name:20} {step:6.3f} s  {1000 * cpu_seconds:6.2f} ms  {ratio:6.0f}  {padded:7.1%}  {waiting:7.2%}")
    print(f"training waited for its batches in {steps['all'][1]:.2%} of its time")


if __name__ == "__main__":
    main()
