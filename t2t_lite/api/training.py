"""Trains from Python, with the arguments of t2t-trainer."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.api.arguments import Folder, Names, existing_folder, list_names, start_tensorflow
from t2t_lite.api.trained_run import TrainedRun
from t2t_lite.errors import FlagError, UserError, did_you_mean
from t2t_lite.hparams import HParams, gin_config
from t2t_lite.hparams.sets import model_of_set
from t2t_lite.onednn import use_onednn
from t2t_lite.problems import Problem
from t2t_lite.problems.problem import get_problems

_PLAN = {
    "eval_steps": 20,
    "eval_every": 1000,
    "eval_decoded": False,
    "save_minutes": 0,
    "keep_checkpoints": 3,
    "profile_steps": None,
}
MAX_STEPS = 2**31 - 1  # steps are int32 in noise


def train(
    problem: Names,
    data_dir: Folder,
    output_dir: Folder,
    *,
    train_steps: int,
    hparams_set: str = "multimodel_tiny",
    hparams: HParams | Mapping[str, Any] | str = "",
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    model: str = "multi_model",
    eval_problems: Names = (),
    keep_best: str = "loss",
    early_stop_metric: str | None = None,
    early_stop_patience: int | None = None,
    warm_start_from: Folder | None = None,
    freeze: Names = (),
    distribute: str = "auto",
    worker_gpu: int = 0,
    generate_data: bool = False,
    tmp_dir: Folder | None = None,
    num_workers: int | None = 1,
    usr_dirs: Names = (),
    **plan: Any,
) -> "TrainedRun":
    """Trains one model on all the problems, as t2t-trainer does; resumes the run if there is one in output_dir.

    Args:
      problem: problems and mixtures: a list, or names separated by commas.
      data_dir: the folder that datagen wrote.
      output_dir: the folder of the run.
      train_steps: the step to train to, counting the steps of all problems.
      hparams_set: the registered hparams to start from.
      hparams: changes of them, as {"hidden_size": 64} or "hidden_size=64"; or a whole HParams instead of a set.
      gin_files: gin files.
      gin_params: gin bindings.
      model: the registered model.
      eval_problems: the problems to evaluate; all by default.
      keep_best: the metric by which the best checkpoint is kept: PROBLEM:METRIC, or METRIC for the mean over problems.
      early_stop_metric: stops when this metric no longer improves.
      early_stop_patience: ... for as many evaluations.
      warm_start_from: a run, or RUN/checkpoints/ckpt-N: begins with its weights.
      freeze: parts of the model, and problems, that stay as they are.
      distribute: "auto", "one_device", "mirrored" or "multi_worker".
      worker_gpu: replicas on this machine; 0: one for each GPU.
      generate_data: first calls `t2t_lite.datagen` for the problems that have no data in data_dir.
      tmp_dir: ... with this folder of raw files.
      num_workers: ... with as many worker processes.
      usr_dirs: folders of your own problems, modalities, models and sets.
      **plan: further fields of `training.train.Plan`: eval_steps, eval_every, eval_decoded, save_every, ...

    Returns:
      The run, to ask and to evaluate.

    Raises:
      UserError: a name, a value or the data are wrong, or output_dir holds another run.
      Stopped: Ctrl-C or SIGTERM, after a checkpoint was saved.
    """
    from t2t_lite.training.early_stopping import EvaluationTracker
    from t2t_lite.training.stop_signals import StopSignals

    use_onednn()  # before the user's own files import TensorFlow
    registry.import_usr_dirs(list_names(usr_dirs))
    for name, steps in (("train_steps", train_steps), ("eval_steps", plan.get("eval_steps", 1))):
        if not 1 <= steps <= MAX_STEPS:
            raise FlagError(f"--{name}={steps}: expected 1 to {MAX_STEPS:,}")
    names = list_names(problem)
    problems, resolved = resolve_training(names, hparams_set, hparams, gin_files, gin_params, model, freeze)
    evaluated = tuple(get_problems(list_names(eval_problems))) or tuple(problems)
    for name in evaluated:
        if name not in problems:
            raise FlagError(f"--eval_problems: '{name}' is not trained here{did_you_mean(name, problems)}")
    _check_plan(plan)
    if bool(early_stop_metric) != bool(early_stop_patience):
        raise FlagError("--early_stop_metric and --early_stop_patience belong together")
    tracker = EvaluationTracker(evaluated, keep_best, early_stop_metric or "", early_stop_patience or 1)
    if generate_data:
        _generate(names, data_dir, tmp_dir, num_workers, usr_dirs)
    data_dir = existing_folder(data_dir, "data_dir", "t2t-datagen makes it")
    start_tensorflow()
    from t2t_lite.runs.memory import explain_out_of_memory, smaller_batch
    from t2t_lite.training.devices import open_devices
    from t2t_lite.training.graph_rewriting import no_graph_rewriting_on_cpu
    from t2t_lite.training.train import Plan, train

    plan = _PLAN | plan
    plan["save_every"] = plan.get("save_every") or plan["eval_every"]
    start = Path(os.path.expanduser(warm_start_from)) if warm_start_from else None
    made = Plan(train_steps=train_steps, eval_problems=evaluated, warm_start_from=start, **plan)
    output_dir = Path(os.path.expanduser(output_dir))
    # Before StopSignals, because TensorFlow's cluster installs a handler of SIGTERM when it starts.
    devices = open_devices(distribute, worker_gpu)
    with no_graph_rewriting_on_cpu(), StopSignals() as stop, explain_out_of_memory("training", smaller_batch(resolved)):
        train(
            names=names,
            problems=problems,
            hparams=resolved,
            model=model,
            data_dir=data_dir,
            output_dir=output_dir,
            plan=made,
            devices=devices,
            tracker=tracker,
            stop=stop,
        )
    return TrainedRun(output_dir)


def dry_run(
    problem: Names,
    data_dir: Folder,
    *,
    train_steps: int | None = None,
    model: str = "multi_model",
    freeze: Names = (),
    usr_dirs: Names = (),
    **settings: Any,
) -> None:
    """Prints parameters, FLOPs, memory and the mixture of a training, as `t2t-trainer --dry_run`.

    Args:
      problem: problems and mixtures.
      data_dir: the folder that datagen wrote.
      train_steps: the step to train to.
      model: the registered model.
      freeze: parts of the model, and problems, that stay as they are.
      usr_dirs: folders of your own problems, modalities, models and sets.
      **settings: hparams_set, hparams, gin_files, gin_params, as for `train`.
    """
    registry.import_usr_dirs(list_names(usr_dirs))
    names = list_names(problem)
    problems, hparams = resolve_training(names, model=model, freeze=freeze, **settings)
    folder = existing_folder(data_dir, "data_dir", "t2t-datagen makes it")
    start_tensorflow()
    from t2t_lite.training.dry_run import dry_run

    dry_run(names=names, problems=problems, hparams=hparams, model=model, data_dir=folder, train_steps=train_steps)


def resolve_training(
    names: Sequence[str],
    hparams_set: str = "multimodel_tiny",
    hparams: HParams | Mapping[str, Any] | str = "",
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
    model: str = "multi_model",
    freeze: Names = (),
) -> tuple[dict[str, Problem], HParams]:
    """Returns the problems and the hparams of a training.

    Raises:
      UserError: a name or a value is wrong.
    """
    problems = get_problems(names)
    registry.models.check(model)
    resolved = resolve_hparams(hparams_set, hparams, gin_files, gin_params)
    own = "" if isinstance(hparams, HParams) else model_of_set(hparams_set)
    if own not in ("", model):
        raise UserError(f"--hparams_set={hparams_set} is for --model={own}, not for {model}")
    resolved.check_names("loss_weights", problems)
    if freeze:
        resolved = resolved.replace(freeze=",".join(list_names(freeze)))
    return problems, resolved


def resolve_hparams(
    hparams_set: str,
    hparams: HParams | Mapping[str, Any] | str = "",
    gin_files: Sequence[str] = (),
    gin_params: Sequence[str] = (),
) -> HParams:
    """Returns the hparams of a run from the set, gin files, gin bindings and changes; later ones win.

    Raises:
      UserError: a name or a value is wrong.
    """
    if isinstance(hparams, HParams):
        return gin_config.resolve(hparams, gin_files, gin_params, "")
    make = registry.hparams_sets.get(hparams_set)
    try:
        start = make()
    except TypeError as e:
        raise UserError(f"--hparams_set: '{hparams_set}' fails: {e}") from e
    if not isinstance(start, HParams):
        raise UserError(f"--hparams_set: '{hparams_set}' must return HParams, not {type(start).__name__}")
    if isinstance(hparams, str):
        return gin_config.resolve(start, gin_files, gin_params, hparams)
    return gin_config.resolve(start, gin_files, gin_params, "").replace(**hparams)


def _check_plan(plan: Mapping[str, Any]) -> None:
    known = [*_PLAN, "save_every"]
    for name, value in plan.items():
        if name not in known:
            raise UserError(f"train: no argument '{name}'{did_you_mean(name, known)}")
        lowest = 0 if name == "save_minutes" else 1
        if isinstance(value, int) and value < lowest and not isinstance(value, bool):
            raise FlagError(f"--{name}={value}: expected at least {lowest}")


def _generate(
    names: Sequence[str], data_dir: Folder, tmp_dir: Folder | None, num_workers: int | None, usr_dirs: Names
) -> None:
    from t2t_lite.datagen import datagen

    if "TF_CONFIG" in os.environ:
        raise FlagError("--generate_data: not with several machines (TF_CONFIG is set); run t2t-datagen first")
    datagen(names, data_dir, tmp_dir, num_workers=num_workers, usr_dirs=usr_dirs)
