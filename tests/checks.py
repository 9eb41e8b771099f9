"""Shared by several test files: a small model's hparams, problems, batches and random weights; `check_layer`."""

import contextlib
import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from t2t_lite.data.reading import Dataset
from t2t_lite.hparams import HParams
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.problems import Audio, Image, Label, Problem, Text
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run

SMALL = HParams().replace(
    hidden_size=16,
    filter_size=24,
    num_heads=2,
    encoder_blocks=2,
    mixer_blocks=1,
    decoder_blocks=2,
    attention_conv_blocks=1,
    num_experts=6,
    experts_per_position=2,
    image_width=4,
    image_strides=2,
    audio_form="waveform",
    audio_blocks=3,
    audio_width=2,
    audio_mels=5,
    categorical_width=12,
)
NOISE = np.array([3, 5], np.int32)  # a seed; no tensor, or importing this would start TensorFlow


def problem(name, inputs, targets, command=""):
    made = Problem(name)
    made.inputs, made.targets, made.command = inputs, targets, command
    return made


def five_problems():
    """One problem for each kind of data: speech, image to class, image to text, text to text, tree."""
    text, image = Text("words", 30), Image(9, 8)
    made = [
        problem("speech", Audio(1000), text, "to_english"),
        problem("classes", image, Label(("cat", "dog", "sun"))),
        problem("caption", image, text, "caption"),
        problem("translate", text, text, "to_english"),
        problem("tree", text, text, "to_tree"),
    ]
    return {p.name: p for p in made}


def batch_of(problem, seed=0, rows=3, source=7, target=6):
    """A random batch; all examples but the first are padded."""
    rng = np.random.default_rng(seed)
    batch = {}
    for key, feature, length in (("inputs", problem.inputs, source), ("targets", problem.targets, target)):
        if isinstance(feature, Text):
            ids = rng.integers(2, 30, (rows, length))
            for row in range(1, rows):
                ids[row, max(length - row, 1) :] = 0
            batch[key] = tf.constant(ids, tf.int32)
        elif isinstance(feature, Image):
            batch[key] = tf.constant(rng.random((rows, feature.rows, feature.columns, 3)), tf.float32)
        elif isinstance(feature, Audio):
            batch[key] = tf.constant(rng.uniform(-1, 1, (rows, 10 * source)), tf.float32)
            batch["inputs_length"] = tf.constant([10 * source - 9 * row for row in range(rows)], tf.int32)
        else:
            batch[key] = tf.constant(rng.integers(0, len(feature.classes), rows), tf.int32)
    return batch


def randomize(layer, seed=0):
    """Gives every weight random values, those of norms and routers included; returns the layer."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        normal = rng.standard_normal(weight.shape)
        if weight.name == "scale":
            weight.assign(1.0 + 0.3 * normal)
        elif weight.name == "shift" or weight.name.endswith("bias"):
            weight.assign(0.3 * normal)
        elif weight.name == "depthwise":
            weight.assign(normal / np.sqrt(np.prod(weight.shape[:2])))
        elif weight.name in ("embedding", "commands"):
            weight.assign(normal)
        else:
            weight.assign(normal / np.sqrt(weight.shape[-2]))
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def floats(x):
    return tf.constant(x, tf.float32)


def close(actual, expected, tolerance=1e-4):
    np.testing.assert_allclose(np.asarray(tf.cast(actual, tf.float32)), expected, rtol=tolerance, atol=tolerance)


def lengths_mask(lengths, size):
    return np.arange(size)[None] < np.asarray(lengths)[:, None]


@contextlib.contextmanager
def mixed_bfloat16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def eagerly():
    """Runs tf.functions eagerly: small tests are faster without tracing."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def stored_tensors(run_dir, step):
    """{key: value} of all tensors in a checkpoint: weights, averages and the optimizer's state."""
    tensors = {}
    for path in (run_dir / "checkpoints").glob(f"ckpt-{step}.*index"):
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        tensors |= {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    return tensors


def write_as_version_0_1_0(run_dir, step, model, optimizer):
    """Writes a checkpoint as version 0.1.0 did: weights and optimizer in one file, with TensorFlow's object graph."""
    folder = run_dir / "checkpoints"
    path = folder / f"ckpt-{step}.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    for file in folder.glob(f"ckpt-{step}.*"):
        file.unlink()
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / f"ckpt-{step}"))
    sums = {
        file.name: {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(folder.glob(f"ckpt-{step}.*"))
    }
    description = {"step": step, "best": old.get("best"), "state": old.get("state", {}), "files": sums}
    checksum = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": checksum, **description}, indent=1) + "\n")


def check_layer(make, call, shape, folder):
    """Checks of every layer: output shape, gradients, save and load, dtype under mixed_bfloat16.

    Args:
      make: builds the layer.
      call: (layer, dtype) -> its output, or (output, sums of experts), for inputs of that dtype.
      shape: the output's shape.
      folder: where to save a checkpoint.
    """

    def output(layer, dtype=tf.float32):
        result = call(layer, dtype)
        x, sums = result if isinstance(result, tuple) else (result, tf.zeros([3, 1]))
        return x, balancing_loss(sums)

    layer = randomize(make())
    with tf.GradientTape() as tape:
        x, balance = output(layer)
        loss = tf.reduce_sum(x * floats(normal(*shape, seed=9))) + balance
    assert x.shape == shape
    assert len(layer.weights) == len(layer.trainable_weights) > 0
    for weight, gradient in zip(layer.weights, tape.gradient(loss, layer.trainable_weights), strict=True):
        assert gradient is not None, f"no gradient for {weight.path}"
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, f"zero gradient for {weight.path}"

    saved = tf.train.Checkpoint(layer=layer).save(str(folder / "layer"))
    assert sum(name.startswith("layer/") for name, _ in tf.train.list_variables(saved)) == len(layer.weights)
    other = randomize(make(), seed=1)
    assert np.abs(output(other)[0] - x).max() > 0
    tf.train.Checkpoint(layer=other).restore(saved).assert_consumed()
    np.testing.assert_array_equal(output(other)[0], x)

    with mixed_bfloat16():
        narrow = make()
    for weight, value in zip(narrow.weights, layer.get_weights(), strict=True):
        assert weight.dtype == "float32"
        weight.assign(value)
    y, balance = output(narrow, tf.bfloat16)
    # Logits (V is 3 or 30) are float32 whatever the compute dtype.
    assert y.dtype == (tf.float32 if shape[-1] in (3, 30) else tf.bfloat16)
    assert balance.dtype == tf.float32
    assert np.all(np.isfinite(tf.cast(y, tf.float32)))


def random_run(folder, data_dir, hparams, names, model_name="multi_model"):
    """Makes a run whose weights are random, so that its answers depend on the inputs; returns its folder."""
    datasets = {name: Dataset.open(data_dir, name) for name in names}
    model = Run.create(folder, hparams, model_name, datasets, dict.fromkeys(names, 1.0)).build_model()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign_add(0.1 * rng.normal(size=weight.shape))
    Checkpoints(folder, model).save(7)
    return folder


def check_selected_steps(body, inputs, command, targets):
    """Steps of two beams an input that are reordered, and whose inputs leave, equal steps of each history alone."""
    encoded, valid = (tf.constant(x) for x in inputs)
    rng, beams, batch = np.random.default_rng(5), 2, len(targets)
    state = body.initial_state(encoded, valid, tf.constant(30), beams)
    histories = [[(row // beams, -1)] for row in range(batch * beams)]  # (input, number of the embedded token)
    for position in range(20):
        x = [command[i] if token < 0 else targets[i, token] for i, token in (history[-1] for history in histories)]
        y, state = body.step(floats(x), state)
        if position in (11, 19):
            close(y, [_alone(body, inputs, command, targets, history) for history in histories])
        rows = [beams * (row // beams) + rng.integers(beams) for row in range(len(histories))]
        histories = [histories[row] + [(histories[row][0][0], int(rng.integers(targets.shape[1])))] for row in rows]
        state = body.select_beams(state, tf.constant(rows))
        if position == 12:
            state = body.select_inputs(state, tf.constant([0, 2]), beams)
            histories = [history for history in histories if history[0][0] != 1]


def _alone(body, inputs, command, targets, history):
    """The output at the last position of a history, by teacher forcing."""
    number = history[0][0]
    fed = [targets[number, token] for _, token in history[1:]]
    row = slice(number, number + 1)
    shifted = floats([[*fed, np.zeros(command.shape[1])]])
    encoded, valid = (tf.constant(x)[row] for x in inputs)
    return body.decode(shifted, encoded, valid, floats(command[row]))[0][0, -1].numpy()
