"""ConvStep, ConvBlock and ConvRes against the paper's equations."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import NOISE, check_layer, close, floats, lengths_mask, mixed_bfloat16, normal, randomize

from t2t_lite.layers.convolution import ConvBlock, ConvRes, ConvStep, LayerNorm, max_pool
from t2t_lite.layers.noise import dropout


def test_layer_norm_equals_numpy():
    layer = randomize(LayerNorm(5))
    x = normal(2, 3, 5) * 3 + 1
    close(layer(floats(x)), reference.layer_norm(layer, x), 1e-5)


def test_layer_norm_keeps_its_statistics_in_float32():
    with mixed_bfloat16():
        layer = LayerNorm(256)
    # With a mean of 100, statistics in bfloat16 (8 bits) would be wrong.
    x = tf.cast(100.0 + 4.0 * normal(3, 256), tf.bfloat16)
    close(layer(x), reference.layer_norm(layer, np.asarray(tf.cast(x, tf.float64))), 2**-7)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 4)])
def test_conv_step_equals_numpy(kernel, strides, size):
    layer = randomize(ConvStep(4, 6, kernel, strides=strides))
    x, valid = normal(2, *size, 4), lengths_mask([size[0], (size[0] + 1) // 2], size[0])
    close(layer(floats(x)), reference.conv_step(layer, x, kernel, strides))
    close(layer(floats(x), valid=valid), reference.conv_step(layer, x, kernel, strides, valid=valid))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("height,dilation", [(3, 1), (15, 1), (15, 8), (3, 4)])
@pytest.mark.parametrize("length", [1, 8, 9, 40, 131])
def test_conv_step_along_a_sequence_equals_numpy(causal, height, dilation, length):
    layer = randomize(ConvStep(3, 4, (height, 1), dilation=dilation, causal=causal))
    x, valid = normal(2, length, 1, 3), lengths_mask([length, (length + 1) // 2], length)
    expected = reference.conv_step(layer, x, (height, 1), dilation=dilation, causal=causal, valid=valid)
    close(layer(floats(x), valid=valid), expected)


def test_a_dilated_kernel_must_be_one_column_wide():
    with pytest.raises(ValueError, match="one column"):
        ConvStep(3, 3, (3, 3), dilation=2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 10, 130])
def test_conv_block_equals_numpy(causal, length):
    block = randomize(ConvBlock(4, causal=causal))
    x, valid = normal(2, length, 4), lengths_mask([length, (length + 2) // 3], length)
    close(block(floats(x)), reference.conv_block(block, x, causal))
    close(block(floats(x), valid=valid), reference.conv_block(block, x, causal, valid))


def test_conv_block_with_residual_scale_zero_is_the_identity():
    x = floats(normal(2, 5, 4))
    close(ConvBlock(4, residual_scale=0.0)(x), x, 1e-6)
    assert np.abs(ConvBlock(4)(x) - x).max() > 0.1


@pytest.mark.parametrize("kernel,strides", [((3, 3), (2, 2)), ((3, 3), (1, 1)), ((3, 3), (2, 1)), ((3, 1), (2, 1))])
@pytest.mark.parametrize("size", [(1, 1), (6, 3), (7, 4)])
def test_conv_res_equals_numpy(kernel, strides, size):
    block = randomize(ConvRes(3, 5, kernel, strides))
    x, valid = normal(2, *size, 3), lengths_mask([size[0], (size[0] + 1) // 2], size[0])
    close(block(floats(x)), reference.conv_res(block, x, kernel, strides))
    output_valid = valid[:, :: strides[0]]
    expected = reference.conv_res(block, x, kernel, strides, valid)
    close(block(floats(x), valid=valid)[output_valid], expected[output_valid])


def test_max_pool_ignores_padding():
    x = np.full((1, 5, 1, 1), 9.0)
    x[0, :3] = -2.0
    pooled = max_pool(floats(x), (3, 1), (2, 1), lengths_mask([3], 5))
    assert pooled[0, :2, 0, 0].numpy().tolist() == [-2.0, -2.0]


@pytest.mark.parametrize("place", ["branches", "output"])
def test_dropout_place(place):
    block = randomize(ConvBlock(64, dropout=0.4, dropout_place=place))
    x = floats(normal(1, 50, 64) + 5.0)
    plain, noisy = block(x).numpy(), block(x, noise=NOISE).numpy()
    if place == "output":
        dropped = noisy == 0.0
        np.testing.assert_allclose(noisy[~dropped], plain[~dropped] / 0.6, rtol=1e-5)
    else:
        # hidden4 = x + dropout(branch) equals x where the branch is dropped.
        dropped = noisy == x.numpy()
        assert np.abs(noisy).min() > 0
    assert dropped.mean() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("first_branch", [True, False])
def test_dropout_on_the_first_branch(first_branch):
    block = randomize(ConvBlock(64, dropout=0.4, dropout_place="branches"))
    if not first_branch:
        block.step2.norm.scale.assign(np.zeros(64))
        block.step2.norm.shift.assign(np.zeros(64))
    x = floats(normal(1, 50, 64))
    plain, noisy = (block(x) - x).numpy(), (block(x, noise=NOISE) - x).numpy()
    kept = noisy != 0.0
    # Where the second branch is kept it is 1 / 0.6 times that without noise, but only if the first branch is zero.
    same = np.isclose(noisy, plain / 0.6, atol=1e-4)[kept].mean()
    assert same < 0.1 if first_branch else same == 1.0


def test_dropout_rate_and_mean():
    x = tf.ones([200, 100])
    dropped = dropout(x, 0.4, NOISE, "layer").numpy()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.6)}
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert dropout(x, 0.4, None, "layer") is x
    assert dropout(x, 0.0, NOISE, "layer") is x


def test_dropout_depends_on_seed_step_and_layer_only():
    def draw(noise, path):
        return dropout(tf.ones([100]), 0.5, tf.constant(noise), path).numpy().tolist()

    first = draw([1, 2], "a")
    assert first == draw([1, 2], "a")
    assert all(first != draw(*other) for other in [([1, 3], "a"), ([2, 2], "a"), ([1, 2], "b")])


MASK = lengths_mask([20, 7], 20)


def sequence(dtype, size=4):
    return tf.cast(normal(2, 20, size), dtype)


@pytest.mark.parametrize(
    "make,call,shape",
    [
        (lambda: LayerNorm(4), lambda n, dtype: n(sequence(dtype)), (2, 20, 4)),
        (lambda: ConvStep(4, 6, dilation=3), lambda c, dtype: c(sequence(dtype)[:, :, None]), (2, 20, 1, 6)),
        (lambda: ConvStep(4, 6, (3, 3), strides=(2, 2)), lambda c, d: c(sequence(d)[:, :, None]), (2, 10, 1, 6)),
        (lambda: ConvBlock(4, name="block"), lambda b, dtype: b(sequence(dtype), noise=NOISE), (2, 20, 4)),
        (
            lambda: ConvRes(4, 6),
            lambda b, d: b(sequence(d)[:, :, None], valid=MASK),
            (2, 10, 1, 6),
        ),
    ],
)
def test_layer(make, call, shape, tmp_path):
    check_layer(make, call, shape, tmp_path)


def test_custom_gradient_of_layer_norm_equals_the_automatic_one():
    layer = LayerNorm(5)
    layer.scale.assign(normal(5))
    x, upstream = floats(normal(2, 3, 4, 5, seed=1)), floats(normal(2, 3, 4, 5, seed=2))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        plain = (x - mean) / tf.sqrt(variance + 1e-6) * layer.scale.value
        custom, automatic = tf.reduce_sum(layer(x) * upstream), tf.reduce_sum(plain * upstream)
    for weight in (x, layer.scale.value):
        close(tape.gradient(custom, weight), tape.gradient(automatic, weight))


@pytest.mark.parametrize("place", ["branches", "output"])
def test_recomputing_a_block_gives_the_same_gradients(place):
    x, valid = floats(normal(3, 9, 8)), tf.constant(lengths_mask([9, 4, 1], 9))

    def run(recompute):
        keras.utils.set_random_seed(1)
        block = ConvBlock(8, dropout=0.3, dropout_place=place, recompute=recompute, name="block")

        @tf.function
        def value_and_gradients(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = block(x, valid=valid, noise=NOISE)
                loss = tf.reduce_sum(y**2)
            return [y, *tape.gradient(loss, [x, *(v.value for v in block.trainable_variables)])]

        return [value.numpy() for value in value_and_gradients(x)]

    for kept, recomputed in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(kept, recomputed)
