"""Exports a run as a SavedModel that needs only TensorFlow and tensorflow-text.

saved_model.pb, variables/   the signatures and the weights that they need
export.json                  the problems' inputs and outputs, the step, the decode hparams
MODEL_CARD.md                the same for people, with data, figures, use and limits; see model_card.py
"""

import dataclasses
import functools
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from t2t_lite.data import lengths
from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.decode import make_decoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError
from t2t_lite.evaluation.evaluate import evaluate
from t2t_lite.evaluation.report import format_comparison
from t2t_lite.hparams import HParams
from t2t_lite.literal_path import literal_path
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Image, Label, Text, input_features
from t2t_lite.quiet import suppress_stderr
from t2t_lite.runs.checkpoints import Checkpoints, chosen_step
from t2t_lite.runs.replace_folder import check_not_inside, replace_folder
from t2t_lite.runs.run import Run
from t2t_lite.serving import model_card
from t2t_lite.serving.signatures import Signatures
from t2t_lite.serving.tokenizer import Tokenizer
from t2t_lite.serving.weights import DequantizedWeights, StoredWeight

DESCRIPTION = "export.json"


def export_run(
    names: Sequence[str],
    output_dir: Path,
    export_dir: Path,
    *,
    data_dir: Path | None = None,
    decode_hparams: DecodeHParams,
    weights: str = "float32",
    checkpoint: str = "latest",
    eval_steps: int = 5,
) -> None:
    """Writes an export of some of a run's problems, and prints its contents and sizes.

    Args:
      names: the problems.
      output_dir: the run's folder.
      export_dir: the new folder; an earlier export there is replaced once the new one is complete.
      data_dir: the vocabularies and the dev splits; if None, the run's own vocabularies are used and quantized weights
        are not evaluated.
      decode_hparams: of the search; its batch_size is ignored.
      weights: the type to store them in: "float32", "bfloat16" or "int8".
      checkpoint: "latest", "best" or a step.
      eval_steps: batches of each problem's dev split on which quantized weights are compared to those trained.

    Raises:
      UserError: there is no run, checkpoint or vocabulary, a problem was not trained, the decode hparams contradict
        each other, or export_dir holds something other than an export.
    """
    check_replaceable(export_dir)
    run = Run.open(output_dir)
    vocabularies = run.load_vocabularies(names, data_dir)
    problems = {name: problem for name, problem in run.problems().items() if name in names}
    if any(isinstance(problem.targets, Text) for problem in problems.values()):
        decode_hparams.check_beams()
    model = run.build_model()
    step = Checkpoints(output_dir, model).restore_weights(chosen_step(output_dir, checkpoint))

    root = tf.Module()
    with suppress_stderr():
        root.tokenizers = {name: Tokenizer(vocabulary) for name, vocabulary in vocabularies.items()}
    needed = _needed_weights(model, problems)
    stored = {id(weight): StoredWeight(weight, weights) for part in needed.values() for weight in part}
    root.weights = list(stored.values())
    comparison = ""
    if weights != "float32" and data_dir is not None:
        datasets = run.open_datasets(data_dir, list(names))
        print(f"{weights} weights, on {eval_steps} batches of each problem's dev split:")
        comparison = _compare(model, stored, datasets, run.hparams, eval_steps, decode_hparams)
        print(comparison)
    root.dequantized = DequantizedWeights(stored)
    signatures = Signatures(model, root.dequantized, root.tokenizers, decode_hparams)
    description = {
        "name": run.model_name,
        "step": step,
        "weights": weights,
        "search": dataclasses.asdict(decode_hparams),
        "problems": {name: _describe(model, problem, signatures.answers(name)) for name, problem in problems.items()},
    }
    traced = dict(item for name in problems for item in signatures.trace(name))
    card = model_card.model_card(run, problems, description, export_dir, data_dir, comparison)
    size = write_export(root, traced, description, export_dir, card)
    kept = {name: sum(stored[id(weight)].size for weight in part) for name, part in needed.items()}
    dropped = {name: _num_bytes(part) for name, part in model.parts().items() if name not in needed}
    print(f"step {step} exported to {export_dir}: {', '.join(traced)}")
    weights_size = f"{sum(kept.values()) / 1e6:.1f} MB"
    print(f"{size / 1e6:.1f} MB, including {weights_size} of weights ({weights}): {_format_sizes(kept)}")
    print(f"dropped, not needed by these problems: {_format_sizes(dropped) or 'none'}")


def check_replaceable(export_dir: Path) -> None:
    """Raises UserError if the folder cannot be made, or holds anything other than an earlier export."""
    existing = next(path for path in (export_dir, *export_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"--export_dir: {existing} is a file; give a folder")
    check_not_inside("--export_dir", export_dir)
    is_export = all((export_dir / name).is_file() for name in (DESCRIPTION, "saved_model.pb"))
    if export_dir.is_dir() and any(export_dir.iterdir()) and not is_export:
        raise UserError(f"--export_dir: {export_dir} holds files that are not an export; give another folder")


def _describe(model: Any, problem: Problem, answers: int) -> dict[str, Any]:
    """Returns the entry of a problem in `export.json`; `answers` is the number of answers for each input."""
    kinds = {Text: "text", Image: "image", Audio: "audio"}
    features = list(input_features(problem.inputs).values())
    inputs = [kinds[type(feature)] for feature in features]
    grid = None
    if isinstance(problem.inputs, Image):
        blank = tf.zeros([1, problem.inputs.rows, problem.inputs.columns, 3])
        grid = model.net(problem.inputs).embed_inputs(blank).grid.numpy().tolist()
    source, target = problem.languages or (None, None)
    text_outputs = "tree" if "tree" in problem.metrics else "text"
    return {
        "inputs": inputs if isinstance(problem.inputs, tuple) else inputs[0],
        "outputs": "class" if isinstance(problem.targets, Label) else text_outputs,
        "command": problem.command,
        "description": (inspect.getdoc(type(problem)) or "").partition("\n")[0],
        "from": source,
        "to": target,
        "sample_rate": next((f.sample_rate for f in features if isinstance(f, Audio)), None),
        "max_length": None if isinstance(problem.inputs, Image | tuple) else lengths.max_length(problem.inputs),
        "grid": grid,
        "answers": answers,
    }


def write_export(
    root: tf.Module, signatures: Mapping[str, Any], description: dict[str, Any], export_dir: Path, card: str = ""
) -> int:
    """Writes an export atomically, by renaming a finished folder. Returns its size in bytes.

    Args:
      root: the module with the weights.
      signatures: {name: concrete function}.
      description: the contents of export.json, without `bytes`.
      export_dir: the folder.
      card: the generated part of the model card; the rest of an earlier card is kept.
    """
    card = model_card.merge(model_card.read_card(export_dir), card)
    with replace_folder(export_dir) as unfinished:
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        with literal_path(unfinished) as path:
            tf.saved_model.save(root, str(path), dict(signatures), options)
        size = sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file())
        text = json.dumps({**description, "bytes": size}, indent=2, allow_nan=False) + "\n"
        (unfinished / DESCRIPTION).write_text(text, encoding="utf8")
        (unfinished / model_card.CARD).write_text(card, encoding="utf8", errors="backslashreplace")
    return size


def _needed_weights(model: Any, problems: Iterable[str]) -> dict[str, list[Any]]:
    """Returns {part of the model: its weights} of the parts that the problems need, in the model's order."""
    needed = {part for name in problems for part in model.parts(name)}
    return {name: weights for name, weights in model.parts().items() if name in needed}


def _compare(
    model: Any,
    stored: Mapping[int, StoredWeight],
    datasets: Mapping[str, Dataset],
    hparams: HParams,
    steps: int,
    decode_hparams: DecodeHParams,
) -> str:
    """Evaluates a model before and after it takes over the stored weights. Returns a table."""
    search = dataclasses.replace(decode_hparams, return_beams=1)  # metrics score one answer
    decoder, limit = make_decoder(model, search), search.max_length
    score = functools.partial(evaluate, model, datasets, hparams, "dev", steps, decoder=decoder, max_length=limit)
    before = score()
    for weight in model.weights:
        if id(weight) in stored:
            weight.assign(stored[id(weight)].value())
    return format_comparison(before, score(), ("as trained", "as stored"))


def _num_bytes(weights: Iterable[Any]) -> int:
    return sum(weight.value.dtype.size * weight.value.shape.num_elements() for weight in weights)


def _format_sizes(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in parts.items())
