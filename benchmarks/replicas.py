"""Host time of a step, and time to the first step, with two replicas over that with one.

The network is so small that nearly all of a step is work of the host: calls from Python, packing gradients, starting
operations. Each number of replicas has a process of its own, in which the CPU is divided into that many devices; time
is CPU time, because the replicas' threads share the cores.

    python benchmarks/replicas.py [--tiny]         # minutes
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import for_training  # noqa: F401
from measure import Result, Timing, add_flags, report, versus

REPLICAS = (1, 2)
STEPS = 10


def measure(replicas: int, steps: int) -> list[float]:
    """The CPU seconds of each step, from the first."""
    from t2t_lite.training.devices import open_devices

    devices = open_devices("mirrored", replicas) if replicas > 1 else open_devices("one_device")
    from networks import five_model, five_problems, random_batch, small_hparams

    from t2t_lite.training.graph_rewriting import no_graph_rewriting_on_cpu
    from t2t_lite.training.memory_estimate import BatchShape
    from t2t_lite.training.optimizer import make_optimizer
    from t2t_lite.training.step import TrainStep

    hparams = small_hparams("tiny")

    def build() -> tuple:
        model = five_model(hparams)
        return model, make_optimizer(hparams, model.trainable_variables)

    step = TrainStep(devices, devices.build_replicas(build))
    batch = random_batch(five_problems()["to_english"], BatchShape(8, 20), 256)
    times = []
    for number in range(steps + 1):
        start = time.process_time()
        with no_graph_rewriting_on_cpu():  # as t2t-trainer
            step("to_english", batch, number)
        times.append(time.process_time() - start)
    return times


def rows(size: str) -> Iterator[Result]:
    steps, first, later = STEPS if size == "full" else 1, {}, {}
    for replicas in REPLICAS:
        command = [sys.executable, str(Path(__file__)), f"--measure={replicas}", f"--steps={steps}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        times = json.loads(done.stdout)
        first[replicas], later[replicas] = Timing(times[0], None), Timing.of(times[1:])
        if replicas > 1:
            on = f"with {replicas} replicas on one CPU"
            yield versus(f"CPU time of the first step {on}", first[replicas], "one replica", first[1])
            yield versus(f"CPU time of a later step {on}", later[replicas], "one replica", later[1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    parser.add_argument("--measure", type=int, help="measure this number of replicas in this process")
    parser.add_argument("--steps", type=int, default=STEPS)
    flags = parser.parse_args(arguments)
    if flags.measure:
        print(json.dumps(measure(flags.measure, flags.steps)))
    else:
        report(rows("tiny" if flags.tiny else "full"), flags.json)


if __name__ == "__main__":
    main()
