"""Training: one page that reads from top to bottom."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.evaluation.evaluate import evaluate
from t2t_lite.evaluation.report import format_report
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.problems import Problem
from t2t_lite.progress import say
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.run import Run
from t2t_lite.training.draw import ProblemDraw, describe_mixture, mixture_rates
from t2t_lite.training.interrupt import StopSignals
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.progress import Progress
from t2t_lite.training.schedule import learning_rate
from t2t_lite.training.step import train_step
from t2t_lite.training.stopping import Watch
from t2t_lite.training.warm_start import warm_start


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
    save_every: int,
    keep_checkpoints: int,
    watch: Watch,
    stop: StopSignals,
    warm_start_from: Path | None = None,
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
      eval_every: steps between evaluations.
      save_every: steps between checkpoints.
      keep_checkpoints: how many of the last checkpoints to keep, beside the best.
      watch: which checkpoint is the best, and whether to stop early.
      stop: whether a signal has asked to stop.
      warm_start_from: an old run or one of its checkpoints, whose weights a new run begins with as far as they fit.

    Raises:
      UserError: data are missing or damaged, output_dir holds another run, or the disk is full.
    """
    if hparams.schedule in ("cosine", "linear") and not hparams.decay_steps:
        hparams = replace(hparams, decay_steps=train_steps)
    datasets = {name: Dataset.open(data_dir, name) for name in problems}
    rates = mixture_rates(names)
    run = Run.create(output_dir, hparams, model, datasets, rates, gin_config.operative_config(hparams))
    net = run.build_model()
    if warm_start_from and not finished_steps(output_dir):
        say(warm_start(net, run, warm_start_from))
    optimizer = make_optimizer(hparams, net.trainable_variables)
    checkpoints = Checkpoints(output_dir, net, optimizer, keep_checkpoints)
    start, state = checkpoints.restore()
    stop.saved_step = start
    watch.restore(state.get("watch", {}))
    if start > train_steps or start == train_steps == watch.evaluated:
        say(f"step {start} is reached already; a larger --train_steps trains on")
        return

    draw = ProblemDraw(rates, hparams.seed)
    # A problem's place in its data follows from how often it was drawn, so a resumed run goes on with the next batch.
    used = draw.counts(start)
    batches = {name: _training_batches(dataset, hparams, used[name]) for name, dataset in datasets.items()}
    writer = tf.summary.create_file_writer(str(output_dir))

    def save(step: int) -> None:
        checkpoints.save(step, {"watch": watch.state()}, watch.best_step)
        stop.saved_step = step

    with checkpoints.writing(), Progress(train_steps, start, list(problems)) as progress:
        progress.message(describe_mixture(rates, datasets))
        if start:
            progress.message(f"going on from step {start}")
        progress.message("the first step of each problem takes longer: its graph is built")
        stop.wait_for_step()
        for step in range(start, train_steps + 1):
            # A step's checkpoint comes before its evaluation; a run stopped between them goes on with the latter.
            if watch.evaluated < step and (step % eval_every == 0 or step == train_steps):
                with stop.abandonable(), optimizer.averaged():
                    scores = evaluate(net, datasets, hparams, "dev", eval_steps, decode=False)
                if stop.asked:
                    break
                is_best = watch.update(step, scores)
                for name, row in scores.items():
                    _write_scalars(writer, step, f"dev/{name}", row)
                progress.message(format_report({"step": step, "problems": scores}))
                if is_best or checkpoints.last_step == step:
                    save(step)
            if step == train_steps or stop.asked or watch.why_stop():
                break
            problem = draw(step)
            with datasets[problem].reading():
                batch = next(batches[problem])
            figures = train_step(net, optimizer, problem, batch, step)
            progress.update(step + 1, problem, figures)
            _write_scalars(writer, step + 1, f"train/{problem}", figures)
            _write_scalars(writer, step + 1, "train", {"learning_rate": learning_rate(hparams, step)})
            if (step + 1) % save_every == 0 or step + 1 == train_steps:
                save(step + 1)
        if checkpoints.last_step < step:
            save(step)
        if reason := watch.why_stop():
            progress.message(reason)
        writer.close()


def _training_batches(dataset: Dataset, hparams: HParams, skip: int) -> Any:
    if not dataset.split("train").examples:
        raise UserError(f"problem '{dataset.problem.name}': the training split is empty")
    return iter(dataset.batches("train", hparams, shuffle=True, repeat=True, skip=skip))


def _write_scalars(writer: Any, step: int, where: str, figures: Mapping[str, float]) -> None:
    with writer.as_default(step=step):
        for key, value in figures.items():
            if isinstance(value, int | float):
                tf.summary.scalar(f"{where}/{key}", value)
