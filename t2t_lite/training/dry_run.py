"""Prints a run's parameters, FLOPs, memory and mixture without training it (`--dry_run`)."""

import functools
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.data.reading import Dataset
from t2t_lite.hparams import HParams
from t2t_lite.monitoring.training_display import format_table
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Feature, Image, Text, parts
from t2t_lite.runs.memory import smaller_model
from t2t_lite.training.freeze import freeze
from t2t_lite.training.memory_estimate import (
    GPU_SIZES,
    BatchShape,
    Estimate,
    Trained,
    estimate,
    grid,
    grid_of_inputs,
    shapes,
    smallest_gpu,
)
from t2t_lite.training.mixture import TrainingMixture
from t2t_lite.training.optimizer import second_shapes
from t2t_lite.training.shapes_only import shapes_only

_BYTES = 4  # of a float32


def dry_run(
    *,
    names: Sequence[str],
    problems: Mapping[str, Problem],
    hparams: HParams,
    model: str,
    data_dir: Path,
    train_steps: int | None = None,
) -> None:
    """Prints parameters by part, FLOPs, the peak memory and the GPUs that hold it, and the mixture.

    Allocates no weights.

    Args:
      names: problems and mixtures as the user named them.
      problems: the problems, with mixtures expanded.
      hparams: the resolved hparams.
      model: the registered name of the model.
      data_dir: the folder that datagen wrote.
      train_steps: steps of the run, for the epochs of each problem; None to leave them out.

    Raises:
      UserError: data are missing, or an hparam names a problem that is not trained.
    """
    datasets = {name: Dataset.open(data_dir, name) for name in problems}
    sizes = {name: v.size for dataset in datasets.values() for name, v in dataset.vocabularies.items()}
    declared = {name: dataset.problem for name, dataset in datasets.items()}
    with shapes_only():
        net = registry.models.get(model)(hparams, declared, sizes)
    frozen = freeze([net], problems, hparams.freeze)
    parts = count_parameters(net)
    print("parameters")
    for part, count in parts.items():
        print(f"  {part:32} {count:>15,}")
    print(f"  {'all':32} {sum(parts.values()):>15,}")
    if frozen.parts:
        print(f"  {frozen}")
    print("\nforward FLOPs per position (a product and a sum are two), without attention scores, image and audio nets")
    for part, count in flops_per_position(net, hparams).items():
        print(f"  {part:32} {count:>15,}")
    print("\nFLOPs of a training step with the longest batch, padding and all nets included")
    mixture = TrainingMixture(names, datasets, hparams).without(frozen.problems)
    datasets = {name: datasets[name] for name in mixture.rows}
    for name, dataset in datasets.items():
        shape = shapes(dataset.problem, hparams, dataset.split("train").positions)[-1]
        print(f"  {name:32} {step_flops(net, name, shape):>19,}")
    print("\npeak memory of one replica, an estimate, for the batch of each problem that needs most")
    print(describe_memory(memory_estimates(net, hparams, datasets)))
    print("\nGPUs that hold it, by the GB they are sold with")
    print("\n".join(fitting_changes(net, hparams, datasets)))
    print("\nmixture")
    print(mixture.table(train_steps))


def count_parameters(model: Any) -> dict[str, int]:
    """Returns the number of weights of each part; the experts of encoder and decoder are one part."""
    parts = {f"modality net {name}": _size(net) for name, net in model.nets.items()}
    parts["command tokens"] = prod(model.commands.shape)
    if (places := getattr(model, "places", None)) is not None:
        parts["segment embeddings"] = prod(places.shape)
    body_parts = (model.body.encoder, *model.body.decoder_parts)
    for part in body_parts:
        parts[_short_name(part)] = _size(part) - _size_of_experts(part)
    if any(hasattr(part, "experts") for part in body_parts):
        parts["experts"] = sum(map(_size_of_experts, body_parts))
    return parts


def flops_per_position(model: Any, hparams: HParams) -> dict[str, int]:
    """Returns twice the number of weights that a position is multiplied with: of the experts, k of E."""
    flops = {}
    for part in (model.body.encoder, *model.body.decoder_parts):
        weights = _size(part)
        if _size_of_experts(part):
            expert = 2 * hparams.hidden_size * hparams.filter_size
            weights -= expert * (hparams.num_experts - hparams.experts_per_position)
        flops[_short_name(part)] = 2 * weights
    for name, net in model.nets.items():
        if isinstance(net.feature, Text):
            flops[f"softmax of {name}"] = 2 * hparams.hidden_size * net.vocab_size
    return flops


def step_flops(model: Any, problem: str, shape: BatchShape) -> int:
    """Returns the FLOPs of a training step: three times those of a forward pass, four with hparams.recompute.

    Counts padding, and the nets' convolutions and attention scores too.
    """
    hparams, declared = model.hparams, model.problems[problem]
    flops = flops_per_position(model, hparams)
    rows, columns = grid_of_inputs(declared.inputs, shape, hparams)
    source = rows * columns
    scores = model.body.encoder_attentions * 4 * hparams.hidden_size * source**2
    forward = (
        flops["encoder"] * source + scores + sum(input_net_flops(f, shape, hparams) for f in parts(declared.inputs))
    )
    net = model.net(declared.targets)
    if isinstance(declared.targets, Text):
        target = shape.length(declared.targets)
        parts_flops = sum(flops[_short_name(part)] for part in model.body.decoder_parts)
        forward += (parts_flops + flops[f"softmax of {net.name}"]) * target
        attentions = len(model.body.source_attentions())
        forward += attentions * 4 * hparams.hidden_size * target * (target + source)  # scores and mixed values
        # Keys and values of the source are products of its positions, not the target's.
        forward += attentions * 4 * hparams.hidden_size**2 * (source - target)
    else:
        # Two of its steps and the skip step see all positions or a quarter, the two wide ones a quarter.
        forward += 2 * (_size(net) * source // 4 + 2 * hparams.hidden_size**2 * source * 3 // 4)
    return (4 if hparams.recompute else 3) * forward * shape.examples


def input_net_flops(feature: Feature, shape: BatchShape, hparams: HParams) -> int:
    """Returns the forward FLOPs of the image or audio net for one example; 0 for text."""
    if isinstance(feature, Image):
        strides = [2 if i < hparams.image_strides else 1 for i in range(4)]
        rows, columns, width = -(-feature.rows // strides[0]), -(-feature.columns // strides[0]), hparams.image_width
        channels = 24 if hparams.image_patches and strides[0] == 2 else 6
        flops = _conv_flops(rows * columns, channels, width, 9) + _conv_flops(rows * columns, width, 2 * width, 9)
        widths, blocks = [2 * width, 4 * width, 8 * width, hparams.hidden_size], [(s, s) for s in strides[1:]]
    elif isinstance(feature, Audio):
        rows, columns = grid(feature, shape, hparams)[0] * 2**hparams.audio_blocks, 1
        if hparams.audio_form == "spectrogram":
            columns = hparams.audio_mels
        widths = [2, *(hparams.audio_width * 2**i for i in range(hparams.audio_blocks))]
        flops, blocks = 0, [(2, 1)] * hparams.audio_blocks
        flops += 2 * rows // 2**hparams.audio_blocks * columns * widths[-1] * hparams.hidden_size  # the last product
    else:
        return 0
    taps = 3 if columns == 1 else 9
    for before, after, (down, right) in zip(widths, widths[1:], blocks, strict=False):
        full, out = rows * columns, -(-rows // down) * -(-columns // right)
        flops += _conv_flops(full, before, after, taps) + _conv_flops(full, after, after, taps)
        flops += _conv_flops(out, before, after, 1)
        rows, columns = -(-rows // down), -(-columns // right)
    return flops


def _conv_flops(positions: int, channels: int, filters: int, taps: int) -> int:
    """The FLOPs of a ConvStep: `taps` for each channel, then a product."""
    return 2 * positions * channels * (taps + filters)


def memory_estimates(
    model: Any, hparams: HParams, datasets: Mapping[str, Dataset], trained: Mapping[str, Trained] | None = None
) -> list[Estimate]:
    """Returns for each problem the estimate of the batch shape that needs most, the largest first.

    Args:
      model: the model; its variables may lack memory.
      hparams: its hparams, or others in what does not change its weights.
      datasets: the problems' data.
      trained: what the problems train, if it is counted already.
    """
    trained = trained or {name: Trained.of(model, name) for name in datasets}
    weights, found = persistent_bytes(model, hparams), []
    for name, dataset in datasets.items():
        full = shapes(dataset.problem, hparams, dataset.split("train").positions)
        estimates = [estimate(trained[name], hparams, shape, weights) for shape in full]
        found.append(max(estimates, key=lambda one: one.total))
    return sorted(found, key=lambda one: -one.total)


def describe_memory(estimates: Sequence[Estimate]) -> str:
    """Returns a table of the estimates, one line a problem, and the parts of the largest one."""
    lines = [["problem", "batch", "longest", "weights", "gradients", "activations", "peak"]]
    for one in estimates:
        sizes = (sum(one.weights.values()), one.gradients, sum(one.activations.values()), one.total)
        lines.append([one.problem, str(one.shape.examples), str(one.shape.boundary), *map(_gib, sizes)])
    largest = estimates[0]
    parts = ", ".join(f"{part} {_gib(size)}" for part, size in (*largest.weights.items(), *largest.activations.items()))
    return f"{format_table(lines)}\n{largest.problem}, whose peak is in the {largest.worst}: {parts}"


def fitting_changes(model: Any, hparams: HParams, datasets: Mapping[str, Dataset]) -> list[str]:
    """Returns a line for each size of GPU: whether it holds the run, or what makes it fit.

    Tries more micro-batches first, which do not change the update, then smaller batches as well.
    """
    lines = []
    accumulate = [hparams.accumulate_steps * 2**i for i in range(6)]
    tokens = [max(1, hparams.batch_tokens // 2**i) for i in range(4)]

    tries: list[dict[str, Any]] = [{}, *({"accumulate_steps": steps} for steps in accumulate[1:])]
    for count in tokens[1:]:
        tries += [
            {"batch_tokens": count},
            *({"batch_tokens": count, **change} for change in tries[1 : len(accumulate)]),
        ]
    trained = {name: Trained.of(model, name) for name in datasets}

    @functools.cache
    def smallest(number: int) -> int | None:
        """The least GPU that holds the run with the changes of a try."""
        changed = hparams.replace(**tries[number])
        return smallest_gpu(memory_estimates(model, changed, datasets, trained)[0].total)

    for size in GPU_SIZES:
        fitting = (tries[i] for i in range(len(tries)) if (smallest(i) or size + 1) <= size)
        change = next(fitting, None)
        if change is None:
            lines.append(f"{size} GB: does not fit; {smaller_model(hparams)}, or set optimizer=adafactor")
        elif not change:
            lines.append(f"{size} GB: fits")
        else:
            lines.append(f"{size} GB: with " + ",".join(f"{name}={value}" for name, value in change.items()))
    return lines


def _gib(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"


def persistent_bytes(model: Any, hparams: HParams) -> dict[str, int]:
    """Returns the bytes of what a replica holds from the first step to the last: weights and optimizer state."""
    weights, trained = {"weights": _BYTES * _size(model)}, gradient_bytes(model)
    if hparams.optimizer == "adafactor":
        moments = sum(prod(shape) for v in model.trainable_variables for shape in second_shapes(v.shape))
        parts = {"optimizer (rows and columns)": _BYTES * moments}
    else:
        parts = {"optimizer (two moments)": 2 * trained}
    return weights | parts | ({"moving average": trained} if hparams.average_decay else {})


def gradient_bytes(layer: Any) -> int:
    """Returns the bytes of the gradients of a layer's weights, without frozen ones."""
    return _BYTES * sum(prod(variable.shape) for variable in layer.trainable_variables)


def _size(layer: Any) -> int:
    return sum(prod(variable.shape) for variable in layer.weights)


def _size_of_experts(part: Any) -> int:
    experts = getattr(part, "experts", None)
    return _size(experts) if experts else 0


def _short_name(part: Any) -> str:
    """Returns the name of a part of the body, such as "encoder"."""
    return str(part.name).removeprefix("body.")
