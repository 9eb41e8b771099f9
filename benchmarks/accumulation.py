"""A training step of 4 micro-batches over 4 steps of one such batch each, of multimodel_tiny.

A balancing loss depends on the whole batch: the forward passes of all micro-batches but the last then run twice, first
as far as the experts.

    python benchmarks/accumulation.py [--tiny]
"""

from collections.abc import Callable, Iterator

import for_training  # noqa: F401
from measure import Result, Row, main, readable, timed, wider
from networks import copy_model, make_train_step, random_batch, small_hparams

from t2t_lite.hparams import HParams
from t2t_lite.training.memory_estimate import BatchShape

VOCAB_SIZE = 2048


def training(hparams: HParams, shape: BatchShape) -> Callable[[], object]:
    """A call that makes one step."""
    model = copy_model(hparams, VOCAB_SIZE)
    step = make_train_step(model)
    batch = random_batch(model.problems["copy"], shape, VOCAB_SIZE)
    return lambda: step("copy", batch, 1)


def rows(size: str) -> Iterator[Result]:
    parts, examples, length = (4, 16, 32) if size == "full" else (2, 1, 2)
    hparams = small_hparams(size)
    one_step = training(hparams, BatchShape(examples, length))
    for label, balance, target in (("with balancing losses", 1e-2, 1.1), ("without balancing losses", 0.0, 1.0)):
        changed = hparams.replace(accumulate_steps=parts, balance_loss=balance)
        accumulated, single = timed(
            training(changed, BatchShape(parts * examples, length)),
            one_step,
            repetitions=20 if size == "full" else 1,
        )
        yield Row(
            f"a step of {parts} micro-batches of {examples} x {length} positions, multimodel_tiny, {label}",
            *readable(accumulated.best),
            f"{parts} steps of one: {parts * single.best:.3g} s",
            accumulated.best / (parts * single.best),
            wider(accumulated.spread, single.spread),
            target,
        )
        if size == "tiny":
            return


if __name__ == "__main__":
    main(rows)
