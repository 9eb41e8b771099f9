"""Host time of a step, and time to the first step, with several replicas over that with one.

The network is so small that nearly all of a step is work of the host: calls from Python, packing gradients, starting
operations. Each number of replicas has a process of its own, in which the CPU is divided into that many devices; time
is CPU time, because the replicas' threads share the cores.

    python benchmarks/replicas.py [--tiny]         # about three minutes
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from compare import add_tiny

REPLICAS = (1, 2, 4, 8)
STEPS = 10


def measure(replicas: int, steps: int) -> None:
    """Prints the CPU seconds of the first step, and the median of those of later ones."""
    from tracing import PROBLEMS, random_batch

    from t2t_lite.training.devices import open_devices

    devices = open_devices("mirrored", replicas) if replicas > 1 else open_devices("one_device")
    import numpy as np
    from compare import model_hparams
    from tracing import joint_model

    from t2t_lite.models.multi_model import MultiModel
    from t2t_lite.training.optimizer import Optimizer, make_optimizer
    from t2t_lite.training.step import TrainStep

    hparams = model_hparams(tiny=True)

    def build() -> tuple[MultiModel, Optimizer]:
        model = joint_model(hparams)
        return model, make_optimizer(hparams, model.trainable_variables)

    from t2t_lite.training.graph_rewriting import no_graph_rewriting_on_cpu

    step = TrainStep(devices, devices.build_replicas(build))
    name, inputs, targets = PROBLEMS[0]
    batch = random_batch(np.random.default_rng(0), inputs, targets)
    times = []
    for number in range(steps + 1):
        start = time.process_time()
        with no_graph_rewriting_on_cpu():  # as t2t-trainer
            step(name, batch, number)
        times.append(time.process_time() - start)
    print(times[0], statistics.median(times[1:]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    add_tiny(parser)
    parser.add_argument("--measure", type=int, help="measure this number of replicas in this process")
    flags = parser.parse_args(arguments)
    if flags.measure:
        return measure(flags.measure, 1 if flags.tiny else STEPS)
    command = [sys.executable, str(Path(__file__)), *(["--tiny"] if flags.tiny else [])]
    reference: list[float] = []
    for replicas in REPLICAS[:2] if flags.tiny else REPLICAS:
        done = subprocess.run([*command, f"--measure={replicas}"], stdout=subprocess.PIPE, text=True, check=True)
        first, later = map(float, done.stdout.split())
        reference = reference or [first, later]
        print(
            f"{replicas} replicas: first step {first / reference[0]:.2f}, later steps {later / reference[1]:.2f} times "
            f"those of one  ({first:.1f} s, {1000 * later:.0f} ms of CPU time)"
        )


if __name__ == "__main__":
    main()
