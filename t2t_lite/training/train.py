"""The training loop: restores the last checkpoint, then trains, evaluates and saves."""

import contextlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2t_lite.data import read_ahead
from t2t_lite.data.read_ahead import ReadAhead
from t2t_lite.data.reading import BatchLoader, Dataset
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.errors import DivergedError, UserError
from t2t_lite.evaluation import metrics
from t2t_lite.evaluation.evaluate import combine_shares, evaluate_share
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.monitoring.monitor import Monitor
from t2t_lite.monitoring.profiler import Profiler
from t2t_lite.monitoring.sample_outputs import SampleOutputs
from t2t_lite.problems import Problem
from t2t_lite.progress import print_status
from t2t_lite.runs.checkpoints import Checkpoints, finished_steps
from t2t_lite.runs.memory import explain_out_of_memory, smaller_batch, smaller_model
from t2t_lite.runs.run import DECAYING, Run
from t2t_lite.training.devices import Devices
from t2t_lite.training.early_stopping import EvaluationTracker
from t2t_lite.training.freeze import freeze
from t2t_lite.training.memory_check import available_memory, check_memory
from t2t_lite.training.memory_estimate import shapes
from t2t_lite.training.mixture import TrainingMixture
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.sampler import make_sampler
from t2t_lite.training.schedule import learning_rate
from t2t_lite.training.step import TrainStep
from t2t_lite.training.stop_signals import StopSignals
from t2t_lite.training.warm_start import warm_start

_MIN_SKIPPED = 3  # skipped steps below which a process does not fail, however few steps it trained


@dataclass(frozen=True)
class Plan:
    """How far to train, and when to evaluate, save and profile."""

    train_steps: int  # the step to train to, counting the steps of all problems
    eval_steps: int  # batches of each problem's dev split in an evaluation
    eval_every: int  # steps between evaluations
    eval_decoded: bool  # whether evaluations also score decoded answers
    save_every: int  # steps between checkpoints
    save_minutes: int  # minutes after which a checkpoint is saved too; 0: none
    keep_checkpoints: int  # how many of the last checkpoints to keep, beside the best
    eval_problems: tuple[str, ...]  # the problems to evaluate
    profile_steps: tuple[int, int] | None  # the first and the last step of a TensorFlow profile; None: no profile
    warm_start_from: Path | None  # a run or one of its checkpoints, whose weights a new run begins with


def train(
    *,
    names: Sequence[str],
    problems: Mapping[str, Problem],
    hparams: HParams,
    model: str,
    data_dir: Path,
    output_dir: Path,
    plan: Plan,
    devices: Devices,
    tracker: EvaluationTracker,
    stop: StopSignals,
) -> None:
    """Trains one model on all the problems, from the run's last checkpoint if there is one.

    Args:
      names: problems and mixtures as the user named them.
      problems: the problems, with mixtures expanded.
      hparams: the resolved hparams.
      model: the registered name of the model.
      data_dir: the folder that datagen wrote.
      output_dir: the run's folder; see runs/run.py.
      plan: how far to train, and when to evaluate, save and profile.
      devices: the devices to train on.
      tracker: tracks the best checkpoint and decides on early stopping.
      stop: receives signals that ask to stop.

    Raises:
      UserError: data are missing or damaged, output_dir holds another run, the disk is full, memory does not suffice,
        another worker has ended, or too many steps were skipped: max_bad_steps in a row, or most of this process.
    """
    last = plan.train_steps
    output_dir = devices.writable_folder(output_dir)
    if hparams.schedule in DECAYING and not hparams.decay_steps:
        hparams = replace(hparams, decay_steps=last)
    datasets = {name: Dataset.open(data_dir, name) for name in problems}
    for dataset in datasets.values():
        metrics.check(dataset.problem)  # fails before the training, not at its first evaluation
    for name in plan.eval_problems:
        datasets[name].split("dev")  # raises UserError if there is none
    mixture = TrainingMixture(names, datasets, hparams)
    run = Run.create(output_dir, hparams, model, datasets, mixture.rates, gin_config.operative_config(hparams))
    devices.check_same("flags, hparams or data", _checksum(run, datasets, plan))

    check_memory(run, devices)
    models = devices.build_replicas(run.build_model)
    if plan.warm_start_from and devices.is_chief and not finished_steps(output_dir):
        print_status(warm_start(models[0], run, plan.warm_start_from))
    frozen = freeze(models, problems, hparams.freeze)
    if frozen.parts:
        print_status(str(frozen))
    mixture = mixture.without(frozen.problems)
    mixture.save(output_dir, last)
    with explain_out_of_memory("the optimizer's state", f"set optimizer=adafactor, or {smaller_model(hparams)}"):
        optimizers = devices.run(lambda i: make_optimizer(hparams, models[i].trainable_variables))
    net, optimizer = models[0], optimizers[0]
    train_step = TrainStep(devices, list(zip(models, optimizers, strict=True)))
    checkpoints = Checkpoints(output_dir, net, optimizer, plan.keep_checkpoints)
    _, state = checkpoints.restore()
    start, state = train_step.broadcast(), devices.broadcast_state(state)
    stop.saved_step = start
    tracker.restore(state.get("watch", {}))
    if start > last or start == last == tracker.evaluated_step:
        print_status(f"step {start} is reached already; {run.how_to_train_on(start)}")
        return

    sampler = make_sampler(hparams, mixture.rates)
    sampler.restore(state.get("draw", {}))
    loaders = {name: _training_loader(datasets[name], hparams, devices) for name in mixture.rates}
    evaluated = {name: datasets[name] for name in plan.eval_problems}
    samples = SampleOutputs(net, evaluated, hparams)
    decoders = [samples.decoder, *map(GreedyDecoder, models[1:])] if plan.eval_decoded else [None] * len(models)

    def save(step: int) -> None:
        def record() -> None:
            stop.saved_step = step

        if not devices.is_chief:
            record()  # all workers stop together, after the chief has saved
            return
        monitor.flush()
        # "watch" and "draw" are promises: runs begun by earlier versions have these keys.
        state = {"watch": tracker.state(), "draw": sampler.state()}
        copy_fits = checkpoints.tensor_bytes() < available_memory()
        checkpoints.save_in_background(step, state, tracker.best_step, record)
        if not copy_fits:  # on a CPU the next step would make the copy
            checkpoints.wait()

    def time_to_save() -> bool:
        """Whether --save_minutes have passed, by the chief's clock."""
        minutes = plan.save_minutes
        return minutes > 0 and devices.any_worker(devices.is_chief and checkpoints.minutes_since_save >= minutes)

    with (
        checkpoints.report_write_errors(),
        checkpoints,
        Profiler(output_dir, plan.profile_steps, start, last) as profiler,
        # The number of batches that a problem has used is how often it was sampled; a resumed run skips these.
        ReadAhead(loaders, sampler.counts(start)) as batches,
        Monitor(output_dir, start, last, datasets, tracker.evaluated_step, devices.is_chief) as monitor,
    ):
        train_step.log = monitor.message
        monitor.message(mixture.table(last))
        if devices.replicas > 1:
            monitor.message(devices.describe())
        if start:
            monitor.message(f"resuming from step {start}")
        monitor.message("building graphs and testing memory with the largest batches of each problem")
        for dataset in _with_different_batches([datasets[name] for name in mixture.rates], hparams):
            train_step.try_largest_batch(dataset)
        stop.defer()
        for step in range(start, last + 1):
            # The checkpoint of a step is saved before its evaluation; a run stopped in between resumes with the latter.
            if tracker.evaluated_step < step and (step % plan.eval_every == 0 or step == last):
                with (
                    explain_out_of_memory(f"the evaluation after step {step}", smaller_batch(hparams)),
                    stop.interruptible() as check,
                    contextlib.ExitStack() as averages,
                ):
                    for each in optimizers:
                        averages.enter_context(each.averaged())
                    share = evaluate_share(
                        list(zip(models, decoders, strict=True)),
                        evaluated,
                        hparams,
                        "dev",
                        plan.eval_steps,
                        before_batch=check,
                        run=devices.run,
                        part=(devices.worker, devices.workers),
                    )
                    check()
                    outputs = samples() if devices.is_chief else []
                if stop.requested_anywhere(devices.any_worker):
                    break
                scores = combine_shares(devices.gather(share), evaluated, "dev")
                is_best = tracker.update(step, scores)
                monitor.evaluation(step, scores, outputs)
                if is_best or checkpoints.last_step == step:
                    save(step)
            if (
                step == last
                or stop.requested_anywhere(devices.any_worker)
                or devices.any_worker(tracker.stop_reason() is not None)
            ):
                break
            profiler.begin(step + 1)
            problem = sampler(step)
            settings = {"learning_rate": learning_rate(hparams, step), "rate": sampler.rates[problem]}
            coming = [sampler(later) for later in range(step + 1, min(step + 1 + read_ahead.STEPS, last))]
            with datasets[problem].reading(), monitor.input_wait():
                batch = batches.next(problem, coming)
            figures = train_step(problem, batch, step)
            sampler.update(problem, figures.get("loss", float("nan")))
            monitor.step(step + 1, problem, batch, settings | figures)
            checkpoints.raise_error()
            if (step + 1) % plan.save_every == 0 or step + 1 == last or time_to_save():
                save(step + 1)
        if checkpoints.last_step < step:
            save(step)
        if reason := tracker.stop_reason():
            monitor.message(reason)
    devices.barrier()
    if not stop.requested:
        _check_skipped(train_step.unscalable_skips, step - start, step)


def _check_skipped(skipped: int, steps: int, step: int) -> None:
    """Raises DivergedError if most steps of this process were skipped; the last one is saved before."""
    if skipped >= _MIN_SKIPPED and 2 * skipped > steps:
        raise DivergedError(
            f"{skipped} of the {steps} steps of this process were skipped, because the loss or a gradient was not "
            f"finite; step {step} is saved. Check the data of the problems named above, or lower learning_rate in a "
            "new --output_dir"
        )


def _training_loader(dataset: Dataset, hparams: HParams, devices: Devices) -> BatchLoader:
    if not dataset.split("train").examples:
        raise UserError(f"problem '{dataset.problem.name}': the training split is empty")
    worker: dict[str, Any] = {}
    if devices.workers > 1:
        worker = {
            "part": (devices.worker, devices.workers),
            "shards": devices.replicas * hparams.accumulate_steps,
        }
    return dataset.loader("train", hparams, shuffle=True, repeat=True, **worker)


def _with_different_batches(datasets: Sequence[Dataset], hparams: HParams) -> list[Dataset]:
    """Leaves out problems whose features and batch shapes are those of an earlier one: they need the same memory."""
    different: dict[Any, Dataset] = {}
    for dataset in datasets:
        problem = dataset.problem
        full = shapes(problem, hparams, dataset.split("train").positions)
        different.setdefault((problem.inputs, problem.targets, tuple(full)), dataset)
    return list(different.values())


def _checksum(run: Run, datasets: Mapping[str, Dataset], plan: Plan) -> int:
    """Returns a checksum of everything that the workers of a run must have in common."""
    manifests = [dataset.manifest for dataset in datasets.values()]
    return zlib.crc32(repr((replace(run, folder=Path()), manifests, plan)).encode())
