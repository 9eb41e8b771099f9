"""Steps of one model of microworld's eight problems over steps of eight models of one problem each (multimodel_tiny).

Sums over the problems, one step each, on random batches of equal shapes.

    python benchmarks/joint.py [--tiny]         # minutes: nine models are traced
"""

from collections.abc import Callable, Iterator, Mapping

import for_training  # noqa: F401
from measure import Result, main, timed, versus
from networks import make_train_step, microworld_problems, random_batch, small_hparams, vocab_sizes

from t2t_lite.hparams import HParams
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Problem
from t2t_lite.training.memory_estimate import shapes

VOCAB_SIZE = 2048


def training(hparams: HParams, problems: Mapping[str, Problem]) -> Callable[[], object]:
    """A call that makes a step of each problem with one model."""
    step = make_train_step(MultiModel(hparams, problems, vocab_sizes(problems.values(), VOCAB_SIZE)))
    batches = {}
    for name, problem in problems.items():
        full = shapes(problem, hparams)
        batches[name] = random_batch(problem, full[len(full) // 2], VOCAB_SIZE)  # of the middle bucket

    def steps() -> None:
        for name, batch in batches.items():
            step(name, batch, 1)

    return steps


def rows(size: str) -> Iterator[Result]:
    problems = microworld_problems()
    if size == "tiny":
        problems = {name: problems[name] for name in ("microworld_ende", "microworld_parsing")}
    hparams = small_hparams(size)
    single = [training(hparams, {name: problem}) for name, problem in problems.items()]
    joint, alone = timed(
        training(hparams, problems), lambda: [step() for step in single], repetitions=10 if size == "full" else 1
    )
    number = "eight" if len(problems) == 8 else str(len(problems))
    yield versus(
        f"a step of each of microworld's {number} problems, one model, multimodel_tiny",
        joint,
        f"{number} models of one problem each",
        alone,
        target=1.03,
    )


if __name__ == "__main__":
    main(rows)
