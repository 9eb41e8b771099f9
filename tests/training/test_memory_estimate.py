"""The estimate of a training step's memory, against what traced graphs and real processes hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from checks import NOISE, SMALL, problem
from tensorflow.python.eager.polymorphic_function import concrete_function

from t2t_lite.data import lengths
from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_base, multimodel_single
from t2t_lite.hparams.transformers import UNREAD
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.models.transformer import Transformer
from t2t_lite.problems import Audio, Image, Label, Text
from t2t_lite.training.memory_check import available_memory
from t2t_lite.training.memory_estimate import (
    BatchShape,
    Trained,
    activations,
    estimate,
    heaviest_shapes,
    shapes,
    smallest_gpu,
)
from t2t_lite.training.shapes_only import shapes_only

TEXT = Text(max_length=20)
PROBLEMS = {
    "text": problem("text", TEXT, TEXT, "say"),
    "image": problem("image", Image(rows=22, columns=17), Label(("a", "b", "c"))),
    "caption": problem("caption", Image(rows=16, columns=16), TEXT, "say"),
    "audio": problem("audio", Audio(sample_rate=8000, max_seconds=1.0), TEXT, "say"),
    "command": problem("command", Audio(sample_rate=8000, max_seconds=1.0), Label(("a", "b"))),
}


@pytest.fixture
def kept_tensors(monkeypatch):
    """The tensors that forward passes of traced functions give to their backward passes, as (address, bytes)."""
    found, record = [], concrete_function._TapeGradientFunctions.record

    def recorded(self, outputs, *arguments):
        for x in outputs:
            if isinstance(x, tf.Tensor) and x.dtype not in (tf.variant, tf.resource):
                values = np.asarray(x._numpy_internal())
                found.append((values.__array_interface__["data"][0], values.nbytes))
        return record(self, outputs, *arguments)

    monkeypatch.setattr(concrete_function._TapeGradientFunctions, "record", recorded)
    return found


@pytest.mark.parametrize(
    "name,changes",
    [
        ("caption", {}),
        pytest.param("text", {"precision": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param("text", {"recompute": True}, marks=pytest.mark.slow),
        pytest.param("text", {"dropout_place": "output"}, marks=pytest.mark.slow),
        pytest.param("text", {"use_attention": False, "use_experts": False}, marks=pytest.mark.slow),
        pytest.param("image", {"image_patches": True}, marks=pytest.mark.slow),
        pytest.param("audio", {}, marks=pytest.mark.slow),
        pytest.param("audio", {"audio_form": "spectrogram"}, marks=pytest.mark.slow),
        pytest.param("command", {"dropout": 0.0}, marks=pytest.mark.slow),
    ],
)
def test_activations_are_those_that_the_graphs_keep(name, changes, kept_tensors):
    hparams = SMALL.replace(hidden_size=32, **changes)
    model = MultiModel(hparams, {name: PROBLEMS[name]}, {"subwords": 50})
    compare_kept(model, name, hparams, kept_tensors)


def compare_kept(model, name, hparams, kept_tensors):
    declared, shape = PROBLEMS[name], BatchShape(6, 20)
    batch = blank_batch(declared, shape.examples, shape.boundary)
    with tf.GradientTape():
        model.score(name, batch, tf.constant(NOISE))
    weights = {np.asarray(v.value.read_value()._numpy_internal()).__array_interface__["data"][0] for v in model.weights}
    seen = {address: size for address, size in kept_tensors if address not in weights}
    kept = activations(declared, shape, 50, hparams, model.body.kind)
    guess = sum(one.bytes(hparams) for one in kept.values())
    if hparams.precision != "float32":
        guess += 2 * sum(int(np.prod(v.shape)) for v in model.weights if v._autocast)
    if declared.targets is TEXT:  # the cross entropy is not traced
        guess -= 4 * 6 * 20 * 50
    assert guess == pytest.approx(sum(seen.values()), rel=0.05)


@pytest.mark.parametrize(
    "name,changes",
    [("text", {"dropout": 0.0}), ("text", {}), pytest.param("caption", {}, marks=pytest.mark.slow)],
)
def test_activations_of_a_transformer_are_those_that_the_graphs_keep(name, changes, kept_tensors):
    hparams = SMALL.replace(**UNREAD, hidden_size=32, filter_size=40, **({"dropout": 0.1} | changes))
    model = Transformer(hparams, {name: PROBLEMS[name]}, {"subwords": 50})
    compare_kept(model, name, hparams, kept_tensors)


def stateless(hparams, declared):
    with shapes_only():
        return Trained.of(MultiModel(hparams, {declared.name: declared}, {"subwords": 8192}), declared.name)


def test_the_heaviest_batches_of_captions_hold_the_shortest():
    captions = problem("x", Image(rows=224, columns=224), Text(max_length=256), "say")
    hparams = multimodel_base().replace(num_experts=4)
    trained, full = stateless(hparams, captions), shapes(captions, hparams)
    tried = heaviest_shapes(trained, hparams, full)
    assert 1 <= len(tried) <= 3
    steps = {shape: estimate(trained, hparams, shape, {}).step for shape in full}
    assert steps[tried[0]] == max(steps.values())
    most = max(full, key=lambda shape: (shape.examples, shape.boundary))
    assert most in tried and most.examples == 20
    for shape in tried:
        assert steps[shape] >= 0.9 * max(steps.values()) or shape == most


def test_only_buckets_with_examples_have_shapes():
    texts = problem("x", Text(max_length=100), Text(max_length=100), "say")
    hparams = SMALL.replace(fine_buckets=False, batch_tokens=960)
    assert shapes(texts, hparams, {3: 7, 40: 1}) == [BatchShape(120, 8), BatchShape(20, 48)]
    assert shapes(texts, hparams, {}) == [BatchShape(9, 100)]
    assert len(shapes(texts, hparams)) == len(lengths.batch_sizes(texts, hparams))


def test_settings_that_save_memory():
    texts = problem("x", Text(max_length=256), Text(max_length=256), "say")
    shape, weights = BatchShape(16, 256), {"weights": 1000}

    def peak(replicas=1, **changes):
        hparams = multimodel_base().replace(num_experts=4, **changes)
        return estimate(stateless(hparams, texts), hparams, shape, weights, replicas).total

    plain = peak()
    assert peak(recompute=True) < 0.6 * plain
    assert peak(accumulate_steps=4) < 0.5 * plain
    assert peak(replicas=4) < 0.4 * plain
    assert 0.5 * plain < peak(precision="bfloat16") < 0.7 * plain


def test_the_smallest_gpu_keeps_a_margin():
    assert smallest_gpu(10**9) == 16
    assert smallest_gpu(int(15.9e9)) == 24
    assert smallest_gpu(int(75e9)) == 141
    assert smallest_gpu(10**12) is None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    "case",
    [
        {"kind": "image", "examples": 24, "boundary": 1, "size": 128},
        {"kind": "caption", "examples": 24, "boundary": 32, "size": 128},
        {"kind": "text", "examples": 40, "boundary": 96},
        {"kind": "audio", "examples": 16, "boundary": 96},
    ],
    ids=lambda case: case["kind"],
)
@pytest.mark.parametrize(
    "more", ["", ",precision=bfloat16,optimizer=adafactor", ",recompute=true,accumulate_steps=2,num_experts=64"]
)
def test_real_processes_need_what_is_estimated(case, more):
    small = "hidden_size=128,filter_size=512,encoder_blocks=2,mixer_blocks=1,decoder_blocks=1,num_experts=8"
    hparams = f"{small},experts_per_position=2,image_width=16,categorical_width=384{more}"
    if "num_experts=64" in more:
        hparams = hparams.replace(",num_experts=8", "", 1)
    check_measured(case | {"hparams": hparams})


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.skipif(available_memory() < 12e9, reason="needs 12 GB of memory")
@pytest.mark.parametrize(
    "case",
    [
        {"kind": "image", "examples": 20, "boundary": 1, "size": 224},
        {"kind": "caption", "examples": 20, "boundary": 64, "size": 224},
        {"kind": "text", "examples": 16, "boundary": 128},
        {"kind": "audio", "examples": 12, "boundary": 128},
    ],
    ids=lambda case: case["kind"],
)
def test_multimodel_single_needs_what_is_estimated(case):
    """The figures of docs/gpus.md; a minute each on two cores."""
    assert multimodel_single() == HParams().replace(num_experts=60)
    check_measured(case | {"hparams": "num_experts=60"})


def check_measured(case):
    here = Path(__file__)
    environment = os.environ | {"PYTHONPATH": str(here.parents[2]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(here.with_name("measure_memory.py")), json.dumps(case)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 0.85 < result["ratio"] < 1.15, result
