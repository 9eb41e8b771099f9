"""Encoder, mixer and decoder: the paper's equations, causality, masking, and `step` against `decode`."""

import functools

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, SMALL, check_layer, check_selected_steps, close, floats, lengths_mask, normal, randomize

from t2t_lite.layers import convolution_steps
from t2t_lite.layers.convolution import ConvBlock
from t2t_lite.layers.convolution_steps import ConvolutionSteps
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.models.body import Body, Decoder, Encoder, Experts, Mixer

VARIANTS = [
    SMALL,
    SMALL.replace(use_experts=False, final_norm=False),
    SMALL.replace(use_attention=False),
    SMALL.replace(use_experts=False, use_attention=False, attention_conv_blocks=2, mixer_blocks=2),
]
NAMES = ["all", "no_experts", "no_attention", "neither"]
variants = pytest.mark.parametrize("hparams", VARIANTS, ids=NAMES)
encoder_variants = pytest.mark.parametrize("hparams", VARIANTS[:2], ids=NAMES[:2])  # the encoder has no attention
LENGTHS = [9, 1, 5]  # of the inputs of a batch


@functools.cache
def body_of(hparams):
    """One body per variant, shared by all tests; none changes it."""
    return randomize(Body(hparams, name="body"))


def inputs(lengths=LENGTHS, seed=0):
    valid = lengths_mask(lengths, max(lengths))
    return normal(*valid.shape, 16, seed=seed), valid


@encoder_variants
@pytest.mark.parametrize("length", [1, 20])
def test_encoder_equals_numpy(hparams, length):
    body, x = body_of(hparams), normal(2, length, 16)
    valid = lengths_mask([length, (length + 1) // 2], length)
    encoded, sums = body.encode(floats(x), tf.constant(valid))
    expected, expected_balance = reference.encoder(body.encoder, x, valid, hparams)
    close(encoded[valid], expected[valid], 1e-3)
    close(balancing_loss(sums), expected_balance, 1e-3)


@variants
@pytest.mark.parametrize("length", [1, 11])
def test_decode_equals_numpy(hparams, length):
    body, targets, command = body_of(hparams), normal(3, length, 16, seed=1), normal(3, 16, seed=2)
    encoded, valid = inputs()
    target_valid = lengths_mask([length, 1, (length + 1) // 2], length)
    decoded, sums = body.decode(
        floats(targets), floats(encoded), tf.constant(valid), floats(command), tf.constant(target_valid)
    )
    expected, expected_balance = reference.decode(body, targets, encoded, valid, command, hparams, target_valid)
    close(decoded[target_valid], expected[target_valid], 1e-3)
    close(balancing_loss(sums), expected_balance, 1e-3)


def test_mixer_and_decoder_each_equal_numpy():
    body, x = body_of(SMALL), normal(3, 6, 16, seed=1)
    encoded, valid = inputs()
    given = {"encoded": floats(encoded), "valid": tf.constant(valid)}
    close(body.mixer(floats(x), **given), reference.mixer(body.mixer, x, encoded, valid, SMALL), 1e-3)
    close(body.decoder(floats(x), **given)[0], reference.decoder(body.decoder, x, encoded, valid, SMALL)[0], 1e-3)


@variants
def test_mixer_and_decoder_are_causal(hparams):
    body, targets, command = body_of(hparams), normal(2, 12, 16, seed=1), floats(normal(2, 16, seed=2))
    encoded, valid = floats(normal(2, 4, 16)), tf.ones([2, 4], tf.bool)

    def runs(targets):
        given = {"encoded": encoded, "valid": valid}
        yield body.mixer(floats(targets), **given).numpy()
        yield body.decoder(floats(targets), **given)[0].numpy()
        yield body.decode(floats(targets), encoded, valid, command)[0].numpy()

    outputs = list(runs(targets))
    targets[:, 7:] = 5.0 * normal(2, 5, 16, seed=3)
    # `decode` shifts its targets: position 7 depends only on those before 7.
    for before, after, unchanged in zip(outputs, runs(targets), (7, 7, 8), strict=True):
        close(after[:, :unchanged], before[:, :unchanged])
        assert np.abs(after[:, unchanged] - before[:, unchanged]).max() > 0.01


@encoder_variants
def test_encoder_output_does_not_depend_on_padding_or_batch(hparams):
    body, (x, valid) = body_of(hparams), inputs()
    encoded = body.encode(floats(x), tf.constant(valid))[0].numpy()
    for row, length in enumerate(LENGTHS):
        single = body.encode(floats(x[row : row + 1, :length]), tf.ones([1, length], tf.bool))[0]
        close(encoded[row : row + 1, :length], single)
    other = np.where(valid[:, :, None], x, 30.0)
    longer = np.concatenate([other, 9 * normal(3, 14, 16, seed=5)], axis=1)
    longer_encoded, longer_sums = body.encode(floats(longer), tf.constant(np.pad(valid, [[0, 0], [0, 14]])))
    close(longer_encoded[:, : max(LENGTHS)][valid], encoded[valid])
    close(longer_sums, body.encode(floats(x), tf.constant(valid))[1])


@variants
def test_decoder_output_does_not_depend_on_padding_or_batch(hparams):
    body, targets, command = body_of(hparams), normal(3, 6, 16, seed=1), normal(3, 16, seed=2)
    encoded, valid = inputs()
    decoded = body.decode(floats(targets), floats(encoded), tf.constant(valid), floats(command))[0].numpy()
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        single, _ = body.decode(
            floats(targets[one]), floats(encoded[one, :length]), tf.ones([1, length], tf.bool), floats(command[one])
        )
        close(decoded[one], single)


@variants
def test_step_equals_decode(hparams):
    body, targets, command = body_of(hparams), normal(3, 8, 16, seed=1), normal(3, 16, seed=2)
    encoded, valid = inputs()
    decoded, _ = body.decode(floats(targets), floats(encoded), tf.constant(valid), floats(command))
    state = body.initial_state(floats(encoded), tf.constant(valid), tf.constant(11))
    x = floats(command)
    for position in range(8):
        x, state = body.step(x, state)
        close(x, decoded[:, position])
        x = floats(targets[:, position])


@variants
def test_steps_of_reordered_beams(hparams):
    encoded, valid = inputs()
    check_selected_steps(body_of(hparams), (floats(encoded), valid), normal(3, 16, seed=2), normal(3, 4, 16, seed=1))


def test_conv_block_step_equals_call_beyond_the_dilated_kernel():
    block, x = randomize(ConvBlock(4, causal=True)), normal(2, 130, 4)
    whole, state = block(floats(x)).numpy(), convolution_steps.initial_state([block], 2)
    for position in range(130):
        steps = ConvolutionSteps([block], state, tf.constant(position))
        close(steps(block, floats(x[:, position])), whole[:, position])
        state = steps.next_state()


def test_noise_only_if_a_seed_is_given():
    body, (x, valid) = body_of(SMALL), inputs()
    x, valid = floats(x), tf.constant(valid)
    plain, noisy, other = (body.encode(x, valid, noise)[0] for noise in (None, NOISE, NOISE + 1))
    assert np.array_equal(plain, body.encode(x, valid)[0])
    assert np.array_equal(noisy, body.encode(x, valid, NOISE)[0])
    assert np.abs(noisy - plain).max() > 0.01 and np.abs(noisy - other).max() > 0.01


@pytest.mark.parametrize("part", ["encoder", "mixer", "decoder"])
def test_layer(part, tmp_path):
    x, valid = inputs([8, 5])

    def call(layer, dtype):
        sequence, mask = tf.cast(x, dtype), tf.constant(valid)
        if part == "encoder":
            return layer(sequence, valid=mask, noise=NOISE)
        return layer(tf.cast(normal(2, 8, 16, seed=1), dtype), encoded=sequence, valid=mask, noise=NOISE)

    layers = {"encoder": Encoder, "mixer": Mixer, "decoder": Decoder}
    check_layer(lambda: layers[part](SMALL, name=part), call, (2, 8, 16), tmp_path)


def test_experts_layer(tmp_path):
    def call(layer, dtype):
        return layer(tf.cast(normal(2, 20, 16), dtype), noise=NOISE)

    check_layer(lambda: Experts(SMALL, name="experts"), call, (2, 20, 16), tmp_path)
