"""Reading of training batches: planning an epoch; padding, CPU time of a batch, and how long training waits.

python benchmarks/reading.py [--plan=40000000]   # the time to any place of any epoch, and its memory, on a made index
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measure import Result, Row, add_flags, readable, report


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


def write_index(path: Path, pairs: int, shards: list[Any]) -> None:
    """Writes the index of made pairs whose lengths are distributed like those of sentences and their translations."""
    import numpy as np

    from t2t_lite.data import record_index

    rng, unfinished = np.random.default_rng(0), path.with_name(path.name + ".incomplete")
    for start in range(0, pairs, record_index.CHUNK):
        number = min(record_index.CHUNK, pairs - start)
        rows = np.empty(number, record_index.ROW)
        rows["offset"] = np.arange(start, start + number) // len(shards) * 100
        rows["inputs"] = np.clip(rng.lognormal(3.1, 0.6, number), 1, 400)
        rows["targets"] = np.clip(rows["inputs"] * rng.normal(1.05, 0.15, number), 1, 400)
        record_index.append_rows(unfinished, start, rows)


def read_clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def plan(pairs: int) -> Iterator[Result]:
    """Times the way to a place deep in an epoch, from an index on disk, and measures the memory it takes."""
    import resource

    from t2t_lite.data import lengths, record_index
    from t2t_lite.data.epoch_plan import EpochPlans
    from t2t_lite.data.manifest import Shard, Split
    from t2t_lite.hparams import HParams
    from t2t_lite.problems import Problem, Text

    class Pairs(Problem):
        inputs, targets = Text(max_length=256), Text(max_length=256)

        def examples(self, split: str, raw_dir: Path) -> Any:
            return []

    problem = Pairs("pairs")
    shards = [Shard(f"pairs-train-{n:05d}-of-00010", pairs * 10, 0) for n in range(10)]
    split = Split(pairs, shards)
    with tempfile.TemporaryDirectory() as folder:
        path = record_index.index_path(Path(folder), problem.name, "train")
        write_index(path, pairs, shards)
        record_index.finish(Path(folder), problem, "train", shards, pairs)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = [read_clocks()]
        index = record_index.RecordIndex.open(Path(folder), problem, "train", split)
        times.append(read_clocks())
        plans = EpochPlans(index, lengths.batch_sizes(problem, HParams()), seed=1, drop_long=True, by_difference=True)
        for epoch, batch in ((7, plans.batches_in_epoch // 2), (8, 0)):
            plans.batch(epoch, batch)
            times.append(read_clocks())
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    cpu = times[2][1] - times[0][1]
    pairs_text = f"{pairs:,} pairs"
    question = f"opening the index of {pairs_text} and going to any place of an epoch, CPU time"
    yield Row(question, *readable(cpu), "10 s", cpu / 10)
    yield Row(f"memory of the index of {pairs_text} and of an epoch's plan", memory, "GB", "1 GB", memory)


def rows(size: str) -> Iterator[Result]:
    return plan(40_000_000 if size == "full" else 10_000)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problem")
    parser.add_argument("--data_dir")
    parser.add_argument("--plan", type=int, default=0, help="only plan epochs of this many made pairs")
    add_flags(parser)
    parser.add_argument("--t2t_usr_dir", default="")
    parser.add_argument("--hparams_set", default="multimodel_tiny")
    parser.add_argument("--hparams", default="fine_buckets=true")
    parser.add_argument("--train_steps", type=int, default=300)
    parser.add_argument("--batches", type=int, default=200, help="batches to read of each problem")
    flags = parser.parse_args(arguments)
    if not flags.problem:
        return report(plan(flags.plan) if flags.plan else rows("tiny" if flags.tiny else "full"), flags.json)
    if not flags.data_dir:
        parser.error("--problem needs --data_dir")
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
