"""The networks, problems and random batches of the benchmarks."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Image, Label, Problem, Text
from t2t_lite.training.devices import Devices
from t2t_lite.training.graph_rewriting import no_graph_rewriting_on_cpu
from t2t_lite.training.memory_estimate import BatchShape
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep


def small_hparams(size: str) -> HParams:
    """multimodel_tiny, or a still smaller network for size "tiny"."""
    if size == "full":
        return multimodel_tiny()
    return multimodel_tiny().replace(
        hidden_size=8,
        filter_size=8,
        num_heads=2,
        encoder_blocks=1,
        mixer_blocks=1,
        decoder_blocks=1,
        attention_conv_blocks=0,
        num_experts=2,
        experts_per_position=1,
        image_width=2,
        categorical_width=6,
        audio_blocks=1,
        audio_width=2,
        audio_mels=8,
        batch_tokens=32,
        batch_max_examples=2,
    )


def deep_hparams(hidden_size: int, filter_size: int, num_experts: int, precision: str = "float32") -> HParams:
    """The paper's depth: 6 encoder blocks, 2 mixer blocks, 4 decoder blocks, 4 experts a position."""
    sizes = {"hidden_size": hidden_size, "filter_size": filter_size, "num_experts": num_experts}
    return HParams().replace(**sizes, precision=precision, dropout=0.1)


def make_problem(name: str, inputs: object, targets: object) -> Problem:
    problem = Problem(name)
    problem.inputs, problem.targets, problem.command = inputs, targets, name
    return problem


def copy_model(hparams: HParams, vocab_size: int) -> MultiModel:
    """A model of one problem, "copy", from text to text."""
    text = Text("words", vocab_size)
    return MultiModel(hparams, {"copy": make_problem("copy", text, text)}, {"words": vocab_size})


def five_problems() -> dict[str, Problem]:
    """Three translations, captions and classes of pictures."""
    text, image = Text("words", 256), Image(32, 32)
    kinds = [("to_english", text, text), ("to_german", text, text), ("to_tree", text, text), ("caption", image, text)]
    kinds.append(("shapes", image, Label(("circle", "square", "star"))))
    return {name: make_problem(name, inputs, targets) for name, inputs, targets in kinds}


def five_model(hparams: HParams) -> MultiModel:
    """A joint model of five_problems."""
    return MultiModel(hparams, five_problems(), {"words": 256})


def microworld_problems() -> dict[str, Problem]:
    return {name: registry.problems.get(name)(name) for name in registry.mixtures.get("microworld").rates}


def make_train_step(model: MultiModel, hparams: HParams | None = None) -> Callable[..., object]:
    """TrainStep's call, made as t2t-trainer makes it; hparams: those of the optimizer, by default the model's."""
    step = TrainStep(Devices(), [(model, make_optimizer(hparams or model.hparams, model.trainable_variables))])

    def call(*arguments: object) -> object:
        with no_graph_rewriting_on_cpu():
            return step(*arguments)

    return call


def vocab_sizes(problems: Iterable[Problem], size: int) -> dict[str, int]:
    features = [feature for problem in problems for feature in (problem.inputs, problem.targets)]
    return {feature.vocab: size for feature in features if isinstance(feature, Text)}


def random_batch(problem: Problem, shape: BatchShape, vocab_size: int) -> dict[str, tf.Tensor]:
    """A batch of the shape with random token ids, pixels and samples."""
    rng, batch = np.random.default_rng(0), blank_batch(problem, shape.examples, shape.boundary)
    for key in ("inputs", "targets"):
        if batch[key].dtype == tf.uint8:
            batch[key] = tf.constant(rng.integers(0, 256, batch[key].shape, np.uint8))
        elif batch[key].dtype.is_floating:
            batch[key] = tf.constant(rng.random(batch[key].shape, np.float32))
        elif batch[key].shape.rank == 2:
            batch[key] = tf.constant(rng.integers(2, vocab_size, batch[key].shape), tf.int32)
    return batch
