"""The first training step of each further problem of a joint model, over the first step of the first problem.

The first problem's step traces the body; a further problem should trace only its own modality nets.

    python benchmarks/tracing.py [--tiny]
"""

from collections.abc import Iterator

import for_training  # noqa: F401
from measure import Result, Timing, main, seconds, versus
from networks import five_model, five_problems, make_train_step, random_batch, small_hparams

from t2t_lite.hparams import HParams
from t2t_lite.training.memory_estimate import BatchShape

SHAPE = BatchShape(8, 20)
FIRST = "to_english"
LABELS = {  # of further problems, in the order of their steps
    "to_german": "first step of a further translation problem",
    "caption": "first step of the first caption problem",
    "shapes": "first step of the first image classification problem",
}


def first_steps(hparams: HParams) -> dict[str, float]:
    """Seconds of each problem's first step with a new model."""
    step = make_train_step(five_model(hparams))
    problems = five_problems()
    batches = {name: random_batch(problems[name], SHAPE, 256) for name in (FIRST, *LABELS)}
    return {name: seconds(lambda n=name, b=batch: step(n, b, 0)) for name, batch in batches.items()}


def rows(size: str) -> Iterator[Result]:
    times = first_steps(small_hparams(size))  # of one model: a second one in this process would share traces
    first = Timing(times[FIRST], None)
    for name, label in LABELS.items():
        further = Timing(times[name], None)
        yield versus(f"{label}, multimodel_tiny", further, "first step of the first problem", first)


if __name__ == "__main__":
    main(rows)
