"""Prints a run's parameters, FLOPs, memory and mixture without training it (`--dry_run`)."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import keras

from t2t_lite import registry
from t2t_lite.data import lengths
from t2t_lite.data.reading import Dataset
from t2t_lite.hparams import HParams
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text
from t2t_lite.training.mixture import TrainingMixture
from t2t_lite.training.optimizer import second_shapes

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
    """Prints parameters by part, FLOPs per position, memory at the largest batch, and the mixture.

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
    with keras.StatelessScope(initialize_variables=False):  # variables get shapes but no memory
        net = registry.models.get(model)(hparams, declared, sizes)
    parts = count_parameters(net)
    print("parameters")
    for part, count in parts.items():
        print(f"  {part:32} {count:>15,}")
    print(f"  {'all':32} {sum(parts.values()):>15,}")
    print("\nforward FLOPs per position (a product and a sum are two), without attention scores, image and audio nets")
    for part, count in flops_per_position(net, hparams).items():
        print(f"  {part:32} {count:>15,}")
    print("\nmemory, an estimate, without the activations of image and audio nets")
    for part, count in memory_bytes(net, hparams, datasets).items():
        print(f"  {part:32} {count / 2**20:>11,.1f} MiB")
    print("\nmixture")
    print(TrainingMixture(names, datasets, hparams).table(train_steps))


def count_parameters(model: Any) -> dict[str, int]:
    """Returns the number of weights of each part; the experts of encoder and decoder are one part."""
    body = model.body
    experts = sum(_size(part.experts) for part in (body.encoder, body.decoder) if part.experts)
    parts = {f"modality net {name}": _size(net) for name, net in model.nets.items()}
    parts["command tokens"] = prod(model.commands.shape)
    parts["encoder"] = _size(body.encoder) - (_size(body.encoder.experts) if body.encoder.experts else 0)
    parts["mixer"] = _size(body.mixer)
    parts["decoder"] = _size(body.decoder) - (_size(body.decoder.experts) if body.decoder.experts else 0)
    parts["experts"] = experts
    return parts


def flops_per_position(model: Any, hparams: HParams) -> dict[str, int]:
    """Returns twice the number of weights that a position is multiplied with: of the experts, k of E."""
    body = model.body
    flops = {}
    for name in ("encoder", "mixer", "decoder"):
        part = getattr(body, name)
        experts = getattr(part, "experts", None)
        weights = _size(part)
        if experts:
            expert = 2 * hparams.hidden_size * hparams.filter_size
            weights -= expert * (hparams.num_experts - hparams.experts_per_position)
        flops[name] = 2 * weights
    for name, net in model.nets.items():
        if isinstance(net.feature, Text):
            flops[f"softmax of {name}"] = 2 * hparams.hidden_size * net.vocab_size
    return flops


def memory_bytes(model: Any, hparams: HParams, datasets: Mapping[str, Dataset]) -> dict[str, int]:
    """Returns the bytes of weights, optimizer state, gradients, and the activations that the backward pass needs."""
    computed = _BYTES if hparams.precision == "float32" else _BYTES // 2
    positions, longest = 0, 0
    for dataset in datasets.values():
        for boundary, batch in lengths.batch_sizes(dataset.problem, hparams).items():
            positions, longest = max(positions, batch * boundary), max(longest, boundary)
    size = hparams.hidden_size
    step = 6 * size  # a ConvStep keeps ReLU, depthwise, pointwise, and three tensors of the layer norm
    attentions = (1 + hparams.decoder_blocks) if hparams.use_attention else 0
    mixing = hparams.attention_conv_blocks * (1 + hparams.decoder_blocks)
    conv_blocks = hparams.encoder_blocks + hparams.mixer_blocks + hparams.decoder_blocks + mixing
    expert_layers = 2 if hparams.use_experts else 0
    kept = conv_blocks * (4 * step + 2 * size)
    kept += attentions * 2 * (7 * size + 2 * hparams.num_heads * longest)
    kept += expert_layers * hparams.experts_per_position * (3 * size + 2 * hparams.filter_size)
    kept += 2 * max((net.vocab_size for net in model.nets.values()), default=0)
    return {
        **persistent_bytes(model, hparams),
        "gradients": weight_bytes(model),
        f"activations, {positions:,} positions": computed * positions * kept // hparams.accumulate_steps,
    }


def persistent_bytes(model: Any, hparams: HParams) -> dict[str, int]:
    """Returns the bytes of what a replica holds from the first step to the last: weights and optimizer state."""
    weights = {"weights": weight_bytes(model)}
    if hparams.optimizer == "adafactor":
        moments = sum(prod(shape) for v in model.trainable_variables for shape in second_shapes(v.shape))
        parts = {"optimizer (rows and columns)": _BYTES * moments}
    else:
        parts = {"optimizer (two moments)": 2 * weight_bytes(model)}
    return weights | parts | ({"moving average": weight_bytes(model)} if hparams.average_decay else {})


def weight_bytes(layer: Any) -> int:
    """Returns the bytes of a layer's trainable weights."""
    return _BYTES * _size(layer)


def _size(layer: Any) -> int:
    return sum(prod(variable.shape) for variable in layer.trainable_variables)
