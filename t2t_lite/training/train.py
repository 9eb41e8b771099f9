"""Training: one page that reads from top to bottom."""

import io
import zlib
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
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run
from t2t_lite.training.devices import open_devices
from t2t_lite.training.draw import ProblemDraw, describe_mixture, mixture_rates
from t2t_lite.training.optimizer import Adam, learning_rate
from t2t_lite.training.progress import Progress
from t2t_lite.training.step import TrainStep


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
    distribute: str = "auto",
    worker_gpu: int = 0,
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
      distribute: which devices; see training/devices.py.
      worker_gpu: replicas on this machine; 0 for one a GPU.

    Raises:
      UserError: data are missing or damaged, or output_dir holds another run.
    """
    devices = open_devices(distribute, worker_gpu)
    output_dir = devices.folder(output_dir)
    if hparams.schedule in ("cosine", "linear") and not hparams.decay_steps:
        hparams = replace(hparams, decay_steps=train_steps)
    datasets = {name: Dataset.open(data_dir, name) for name in problems}
    rates = mixture_rates(names)
    run = Run.create(output_dir, hparams, model, datasets, rates, gin_config.operative_config(hparams))

    def build() -> tuple[Any, Any]:
        model = run.build_model()
        return model, Adam(hparams, model.trainable_variables)

    copies = devices.build(build)
    net, optimizer = copies[0]
    train_step = TrainStep(devices, copies)
    checkpoints = Checkpoints(output_dir, net, optimizer)
    checkpoints.restore()
    devices.check_same("flags, hparams or data", _checksum(run, datasets, train_steps, eval_every))
    start = train_step.share()
    if start >= train_steps:
        say(f"step {start} is reached already; a larger --train_steps trains on")
        return

    draw = ProblemDraw(rates, hparams.seed)
    # A problem's place in its data follows from how often it was drawn, so a resumed run goes on with the next batch.
    used = draw.counts(start)
    batches = {name: _training_batches(dataset, hparams, used[name]) for name, dataset in datasets.items()}
    writer = tf.summary.create_file_writer(str(output_dir))

    with Progress(train_steps, start, list(problems), file=None if devices.is_chief else io.StringIO()) as progress:
        train_step.tell = progress.message
        progress.message(describe_mixture(rates, datasets))
        if devices.replicas > 1:
            progress.message(devices.describe())
        if start:
            progress.message(f"going on from step {start}")
        progress.message("the first step comes once graphs are built and the longest batch of each problem is tried")
        for dataset in datasets.values():
            train_step.try_longest(dataset)
        for step in range(start, train_steps):
            problem = draw(step)
            with datasets[problem].reading():
                batch = next(batches[problem])
            figures = train_step(problem, batch, step)
            progress.update(step + 1, problem, figures)
            _write_scalars(writer, step + 1, f"train/{problem}", figures)
            _write_scalars(writer, step + 1, "train", {"learning_rate": learning_rate(hparams, step)})
            if (step + 1) % eval_every == 0 or step + 1 == train_steps:
                if devices.is_chief:
                    checkpoints.save(step + 1)
                scores = evaluate(net, datasets, hparams, "dev", eval_steps, decode=False)
                for name, row in scores.items():
                    _write_scalars(writer, step + 1, f"dev/{name}", row)
                progress.message(format_report({"step": step + 1, "problems": scores}))
    writer.close()
    devices.wait()


def _training_batches(dataset: Dataset, hparams: HParams, skip: int) -> Any:
    if not dataset.split("train").examples:
        raise UserError(f"problem '{dataset.problem.name}': the training split is empty")
    return iter(dataset.batches("train", hparams, shuffle=True, repeat=True, skip=skip))


def _checksum(run: Run, datasets: Mapping[str, Dataset], *flags: int) -> int:
    """Of all that the workers of a run must agree on."""
    stored = [dataset.manifest for dataset in datasets.values()]
    return zlib.crc32(repr((replace(run, folder=Path()), stored, flags)).encode())


def _write_scalars(writer: Any, step: int, where: str, figures: Mapping[str, float]) -> None:
    with writer.as_default(step=step):
        for key, value in figures.items():
            if isinstance(value, int | float):
                tf.summary.scalar(f"{where}/{key}", value)
