"""Training steps at the paper's depth as a fraction of the machine's matrix speed.

A step is TrainStep's call: forward pass, backward pass, update and figures, on a batch of random tokens. Its FLOPs are
counted from the equations: three times the forward pass, of the experts those that a position is sent to.

    python benchmarks/training.py [--tiny]         # minutes
"""

from collections.abc import Iterator
from dataclasses import dataclass

import for_training  # noqa: F401
from measure import LeftOut, Result, Row, main, matrix_speed, readable, timed, wider
from measure import product as matrix_product
from networks import copy_model, deep_hparams, make_train_step, random_batch, small_hparams

from t2t_lite.hparams import HParams
from t2t_lite.training.dry_run import step_flops
from t2t_lite.training.memory_estimate import BatchShape

VOCAB_SIZE = 4096


@dataclass(frozen=True)
class Network:
    hidden: int
    filters: int
    experts: int
    batch: BatchShape
    target: float  # of the fraction of matrix speed
    precision: str = "float32"

    def hparams(self, size: str) -> HParams:
        if size == "tiny":
            return small_hparams(size).replace(precision=self.precision)
        return deep_hparams(self.hidden, self.filters, self.experts, self.precision)


FULL = (
    Network(192, 192, 10, BatchShape(16, 32), target=0.30),
    Network(512, 2048, 30, BatchShape(32, 32), target=0.65),
    Network(512, 2048, 30, BatchShape(32, 32), target=0.50, precision="bfloat16"),
)
TINY = (Network(8, 8, 2, BatchShape(2, 4), target=0.0, precision="bfloat16"),)


def rows(size: str) -> Iterator[Result]:
    for network in FULL if size == "full" else TINY:
        shape, kind = network.batch, network.precision
        question = (
            f"training step, D={network.hidden}, F={network.filters}, E={network.experts}, 6+2+4 blocks, "
            f"{shape.examples} x {shape.boundary} positions, {kind}"
        )
        if kind == "bfloat16" and size == "full" and matrix_speed(size, kind) < 0.5 * matrix_speed(size):
            yield LeftOut(question, "this CPU multiplies bfloat16 at less than half its float32 speed")
            continue
        model = copy_model(network.hparams(size), VOCAB_SIZE if size == "full" else 256)
        step = make_train_step(model)
        batch = random_batch(model.problems["copy"], shape, VOCAB_SIZE if size == "full" else 256)
        timing = timed(lambda s=step, b=batch: s("copy", b, 1), repetitions=10 if size == "full" else 1, budget=12)[0]
        speed = step_flops(model, "copy", shape) / timing.best
        yield Row(
            question,
            *readable(timing.best),
            f"{kind} matrix speed: {matrix_speed(size, kind) / 1e9:,.0f} GFLOP/s",
            speed / matrix_speed(size, kind),
            wider(timing.spread, matrix_product(size, kind).spread),
            network.target,
            more_is_better=True,
        )


if __name__ == "__main__":
    main(rows)
