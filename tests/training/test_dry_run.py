"""Counted FLOPs, and what --dry_run prints about memory."""

import math

import pytest
import tensorflow as tf
from checks import SMALL, problem
from conftest import USR_SESSION

from t2t_lite import registry
from t2t_lite.bin import trainer
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Audio, Image, Text
from t2t_lite.training.dry_run import flops_per_position, input_net_flops, step_flops
from t2t_lite.training.memory_estimate import BatchShape
from t2t_lite.training.shapes_only import shapes_only


def is_product(op):
    """Whether it is a matrix product, not the mean of a norm, which has one column."""
    if op.type == "Einsum":
        return op.get_attr("equation").endswith(b"->btd")
    return op.type == "MatMul" and op.outputs[0].shape[1] > 1


def graph_flops(net, *arguments):
    """The FLOPs of the products and depthwise convolutions of a net in a traced graph."""
    graph = tf.function(net.embed_inputs).get_concrete_function(*arguments).graph
    flops = 0
    for op in graph.get_operations():
        if op.type == "DepthwiseConv2dNative":
            flops += 2 * math.prod(op.outputs[0].shape) * math.prod(op.inputs[1].shape[:2])
        elif is_product(op):
            flops += 2 * math.prod(op.outputs[0].shape) * op.inputs[1].shape[0]
    return flops


@pytest.mark.parametrize(
    "feature,changes",
    [
        (Image(rows=48, columns=32), {}),
        (Image(rows=48, columns=32), {"image_patches": True, "image_strides": 3}),
        (Audio(sample_rate=8000, max_seconds=0.64), {}),
        (Audio(sample_rate=8000, max_seconds=0.64), {"audio_form": "spectrogram", "audio_blocks": 2}),
    ],
)
def test_flops_of_input_nets_are_those_of_their_graphs(feature, changes):
    hparams, shape = SMALL.replace(**changes), BatchShape(1, 8)
    net = registry.modalities.get(feature.modality)(feature, hparams, name="net")
    if isinstance(feature, Image):
        arguments = [tf.TensorSpec([1, 48, 32, 3])]
    else:
        arguments = [tf.TensorSpec([1, 5120]), tf.TensorSpec([1], tf.int32)]
    assert input_net_flops(feature, shape, hparams) == pytest.approx(graph_flops(net, *arguments), rel=0.02)


def test_flops_of_a_step():
    texts = problem("x", Text(max_length=16), Text(max_length=12), "say")
    with shapes_only():
        models = [MultiModel(SMALL.replace(recompute=x), {"x": texts}, {"subwords": 50}) for x in (False, True)]
    part = flops_per_position(models[0], SMALL)
    forward = 16 * part["encoder"] + 12 * (part["mixer"] + part["decoder"] + 2 * 16 * 50)
    attentions = 3 * (4 * 16 * 12 * (12 + 16) + 4 * 16**2 * (16 - 12))  # scores and sums; keys and values of the source
    assert step_flops(models[0], "x", BatchShape(5, 16)) == 5 * 3 * (forward + attentions)
    assert step_flops(models[1], "x", BatchShape(5, 16)) == 5 * 4 * (forward + attentions)


@pytest.mark.usefixtures("session_problems")
def test_prints_peak_memory_and_gpus(session_data, capsys):
    flags = [f"--t2t_usr_dir={USR_SESSION}", f"--data_dir={session_data}", "--problem=session", "--dry_run"]
    assert trainer.main([*flags, "--hparams_set=session_tiny"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "peak memory of one replica",
        "FLOPs of a training step",
        "whose peak is in the ",
        "optimizer (two moments) ",
    ):
        assert part in printed
    assert printed.count(" GB: fits") == 5
    assert trainer.main([*flags, "--hparams_set=session_tiny", "--hparams=hidden_size=4096,filter_size=65536"]) == 0
    assert "16 GB: does not fit; lower num_experts=2" in capsys.readouterr().out
