"""The feed-forward network and the blocks of the Transformer: equations, masks, causality, `step` against `call`."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, check_layer, close, floats, lengths_mask, normal, randomize

from t2t_lite.layers.transformer_block import DecoderBlock, EncoderBlock, FeedForward

SIZES = (8, 12, 2)  # D, F, H
SOURCE, VALID = normal(2, 6, 8, seed=1), lengths_mask([6, 3], 6)


def encoder_block(dropout=0.1):
    return EncoderBlock(*SIZES, dropout=dropout, name="block")


def decoder_block(dropout=0.1):
    return DecoderBlock(*SIZES, dropout=dropout, name="block")


def decode(block, x, source=SOURCE, dtype=tf.float32, noise=None):
    return block(tf.cast(x, dtype), source=tf.cast(source, dtype), source_valid=tf.constant(VALID), noise=noise)


def test_feed_forward_equals_numpy():
    layer, x = randomize(FeedForward(8, 12)), normal(2, 5, 8)
    close(layer(floats(x)), reference.feed_forward(layer, x))


def test_padding_is_not_attended_to():
    for block, call in ((encoder_block(), None), (decoder_block(), decode)):
        randomize(block)
        other = np.where(VALID[:, :, None], SOURCE, 1000.0)
        if call:
            before, after, changed = (call(block, normal(2, 4, 8), x) for x in (SOURCE, other, SOURCE + 1))
        else:
            before, after, changed = (
                block(floats(x), valid=tf.constant(VALID))[VALID] for x in (SOURCE, other, SOURCE * 2)
            )
        close(after, before, 1e-5)
        assert np.abs(changed - before).max() > 0.01


def test_decoder_block_is_causal_and_encoder_block_is_not():
    x = normal(2, 6, 8)
    later = x.copy()
    later[:, 4:] += 7.0 * normal(2, 2, 8, seed=2)
    block = randomize(decoder_block())
    before, after = decode(block, x), decode(block, later)
    close(after[:, :4], before[:, :4], 1e-5)
    assert np.abs(after - before)[:, 4:].max() > 0.1
    block, valid = randomize(encoder_block()), tf.ones([2, 6], tf.bool)
    assert np.abs(block(floats(later), valid=valid) - block(floats(x), valid=valid))[:, :4].max() > 0.01


def test_step_equals_call():
    block, x = randomize(decoder_block()), normal(2, 5, 8)
    whole = decode(block, x)
    state = block.initial_state(floats(SOURCE), tf.constant(VALID), tf.constant(7))
    for position in range(5):
        y, state = block.step(floats(x[:, position]), state, tf.constant(position))
        close(y, whole[:, position])


@pytest.mark.parametrize("make", [encoder_block, decoder_block])
def test_dropout_follows_its_seed_and_spares_the_residual_stream(make):
    def call(block, noise):
        if make is decoder_block:
            return decode(block, SOURCE, noise=noise)
        return block(floats(SOURCE), valid=tf.constant(VALID), noise=noise)

    block, still = randomize(make(dropout=0.5)), randomize(make(dropout=0.0))
    plain, noisy, again, other = (call(block, noise) for noise in (None, NOISE, NOISE, NOISE + 1))
    assert np.array_equal(noisy, again)
    assert np.abs(noisy - plain).max() > 0.1 and np.abs(noisy - other).max() > 0.1
    assert np.array_equal(call(still, NOISE), call(still, None))
    rare = randomize(make(dropout=0.999))  # nearly everything is dropped, but the input
    assert np.mean(np.abs(call(rare, NOISE) - SOURCE) < 1e-6) > 0.9


@pytest.mark.parametrize(
    "make,call",
    [
        (lambda: FeedForward(8, 12), lambda layer, dtype: layer(tf.cast(normal(2, 6, 8), dtype))),
        (
            encoder_block,
            lambda layer, dtype: layer(tf.cast(SOURCE, dtype), valid=tf.constant(VALID), noise=NOISE),
        ),
        (decoder_block, lambda layer, dtype: decode(layer, normal(2, 6, 8), dtype=dtype, noise=NOISE)),
    ],
)
def test_layer(make, call, tmp_path):
    check_layer(make, call, (2, 6, 8), tmp_path)
