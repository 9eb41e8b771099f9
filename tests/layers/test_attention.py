"""The timing signal and the attention block against the paper's equations."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, check_layer, close, floats, lengths_mask, normal, randomize

from t2t_lite.layers.attention import MultiHeadAttention
from t2t_lite.layers.attention_block import AttentionBlock
from t2t_lite.layers.timing import timing_signal

OPTIONS = {"dropout": 0.1, "dropout_place": "branches", "residual_scale": 1.0}


def block_of(use_attention=True, blocks=1, size=8):
    return AttentionBlock(
        size, 2, conv_blocks=blocks, use_attention=use_attention, conv_options=OPTIONS, name="attention"
    )


@pytest.mark.parametrize("length,channels", [(1, 2), (7, 6), (50, 16)])
def test_timing_signal_equals_numpy(length, channels):
    close(timing_signal(length, channels), reference.timing(length, channels), 1e-5)


def test_timing_signal_from_a_start_position():
    close(timing_signal(3, 8, start=5), reference.timing(8, 8)[5:], 1e-5)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_multi_head_attention_equals_numpy(heads):
    layer = randomize(MultiHeadAttention(8, heads))
    x, memory = normal(2, 5, 8), normal(2, 7, 8, seed=1)
    valid = lengths_mask([7, 3], 7)
    expected = reference.multi_head_attention(layer, x, memory, heads, np.repeat(valid[:, None], 5, axis=1))
    close(layer(floats(x), memory=floats(memory), allowed=tf.constant(valid)[:, None, None]), expected)


@pytest.mark.parametrize("use_attention", [True, False])
@pytest.mark.parametrize("source,target", [(1, 1), (5, 11), (12, 3)])
def test_attention_block_equals_numpy(use_attention, source, target):
    block = randomize(block_of(use_attention, blocks=2))
    x, memory = normal(2, target, 8), normal(2, source, 8, seed=1)
    valid = lengths_mask([source, (source + 1) // 2], source)
    expected = reference.attention_block(block, x, memory, valid, 2, use_attention)
    close(block(floats(x), source=floats(memory), source_valid=tf.constant(valid)), expected)


@pytest.mark.parametrize("use_attention", [True, False])
def test_source_padding_is_not_attended_to(use_attention):
    block = randomize(block_of(use_attention))
    x, memory, valid = floats(normal(2, 4, 8)), normal(2, 6, 8, seed=1), lengths_mask([6, 3], 6)
    before = block(x, source=floats(memory), source_valid=tf.constant(valid))
    other = np.where(valid[:, :, None], memory, 1000.0)
    close(block(x, source=floats(other), source_valid=tf.constant(valid)), before, 1e-5)
    # A change at valid positions does matter.
    assert np.abs(block(x, source=floats(memory + 1), source_valid=tf.constant(valid)) - before).max() > 0.01


@pytest.mark.parametrize("use_attention", [True, False])
def test_attention_block_is_causal(use_attention):
    block = randomize(block_of(use_attention, blocks=2))
    x, source, valid = normal(1, 9, 8), floats(normal(1, 5, 8, seed=1)), tf.ones([1, 5], tf.bool)
    before = block(floats(x), source=source, source_valid=valid).numpy()
    x[:, 5:] += 7.0
    after = block(floats(x), source=source, source_valid=valid).numpy()
    close(after[:, :5], before[:, :5], 1e-5)
    assert np.abs(after[:, 5:] - before[:, 5:]).max() > 0.1


def attend(block, dtype):
    source, valid = tf.cast(normal(2, 6, 8, seed=1), dtype), tf.constant(lengths_mask([6, 3], 6))
    return block(tf.cast(normal(2, 5, 8), dtype), source=source, source_valid=valid, noise=NOISE)


def attend_heads(layer, dtype):
    memory = tf.cast(normal(2, 6, 8, seed=1), dtype)
    return layer(tf.cast(normal(2, 5, 8), dtype), memory=memory, allowed=tf.ones([5, 6], tf.bool))


@pytest.mark.parametrize(
    "make,call",
    [
        (lambda: MultiHeadAttention(8, 2), attend_heads),
        (block_of, attend),
        (lambda: block_of(use_attention=False), attend),
    ],
)
def test_layer(make, call, tmp_path):
    check_layer(make, call, (2, 5, 8), tmp_path)
