"""Training: one page that reads from top to bottom."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.evaluation.evaluate import evaluate
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems import Problem
from t2t_lite.progress import say
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run
from t2t_lite.training.draw import problem_draw
from t2t_lite.training.mixture import TrainingMixture
from t2t_lite.training.monitor import Monitor
from t2t_lite.training.optimizer import Adam, learning_rate
from t2t_lite.training.profile import Profiler
from t2t_lite.training.samples import Samples
from t2t_lite.training.step import train_step


def train(
    *,
    names: Sequence[str],
    problems: Mapping[str, Problem],
    hparams: HParams,
    model: str,
    data_dir: Path,
    output_dir: Path,
    train_steps: int,
    eval_steps: int,
    eval_every: int,
    eval_problems: Sequence[str] = (),
    profile_steps: tuple[int, int] | None = None,
) -> None:
    """Trains one model on all the problems, from the run's last checkpoint if there is one.

    Args:
      names: problems and mixtures as the user named them.
      problems: the problems that they stand for.
      hparams: the resolved hparams.
      model: the registered name of the model.
      data_dir: where datagen put the data.
      output_dir: the run's folder; see training/run.py.
      train_steps: the step to train to, all problems together.
      eval_steps: batches of each problem's dev split in an evaluation.
      eval_every: steps between evaluations, and between checkpoints.
      eval_problems: the problems to evaluate; all of them unless given.
      profile_steps: the first and the last step to profile; see training/profile.py.

    Raises:
      UserError: data are missing or damaged, output_dir holds another run, or the disk is full.
    """
    if hparams.schedule in ("cosine", "linear") and not hparams.decay_steps:
        hparams = replace(hparams, decay_steps=train_steps)
    datasets = {name: Dataset.open(data_dir, name) for name in problems}
    mixture = TrainingMixture(names, datasets, hparams)
    run = Run.create(output_dir, hparams, model, datasets, mixture.rates, gin_config.operative_config(hparams))
    mixture.save(output_dir, train_steps)
    net = run.build_model()
    optimizer = Adam(hparams, net.trainable_variables)
    checkpoints = Checkpoints(output_dir, net, optimizer)
    start = checkpoints.restore()
    if start >= train_steps:
        say(f"step {start} is reached already; a larger --train_steps trains on")
        return

    draw = problem_draw(hparams, mixture.rates)
    # A problem's place in its data follows from how often it was drawn, so a resumed run goes on with the next batch.
    used = draw.counts(start)
    batches = {name: _training_batches(dataset, hparams, used[name]) for name, dataset in datasets.items()}
    evaluated = {name: datasets[name] for name in eval_problems or datasets}
    samples = Samples(net, evaluated, hparams)

    with (
        Profiler(output_dir, profile_steps, start, train_steps) as profiler,
        Monitor(output_dir, start, train_steps, datasets) as monitor,
    ):
        monitor.message(mixture.table(train_steps))
        if start:
            monitor.message(f"going on from step {start}")
        monitor.message("the first step of each problem takes longer: its graph is built")
        for step in range(start, train_steps):
            profiler.begin(step + 1)
            problem = draw(step)
            told = {"learning_rate": learning_rate(hparams, step), "rate": draw.rates[problem]}
            with datasets[problem].reading(), monitor.waiting():
                batch = next(batches[problem])
            figures = train_step(net, optimizer, problem, batch, step)
            draw.update(problem, figures["loss"])
            monitor.step(step + 1, problem, batch, told | figures)
            if (step + 1) % eval_every == 0 or step + 1 == train_steps:
                monitor.flush()
                checkpoints.save(step + 1)
                scores = evaluate(net, evaluated, hparams, "dev", eval_steps, decode=False)
                monitor.evaluation(step + 1, scores, samples())


def _training_batches(dataset: Dataset, hparams: HParams, skip: int) -> Any:
    if not dataset.split("train").examples:
        raise UserError(f"problem '{dataset.problem.name}': the training split is empty")
    return iter(dataset.batches("train", hparams, shuffle=True, repeat=True, skip=skip))
