"""What the weights of each layer start from, and the sizes that a layer has by default."""

import random

import numpy as np
import pytest

from t2t_lite.layers.attention_block import AttentionBlock
from t2t_lite.layers.convolution import ConvBlock, ConvRes, ConvStep, LayerNorm
from t2t_lite.layers.experts import MixtureOfExperts


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)  # Keras's initializers draw their seeds from here


def shape(weight):
    return tuple(weight.shape)


def array(weight):
    return weight.numpy().astype(float)


def test_a_layer_norm_starts_as_the_plain_norm():
    assert array(LayerNorm(3).scale).tolist() == [1, 1, 1] and array(LayerNorm(3).shift).tolist() == [0, 0, 0]
    assert array(LayerNorm(2, 0.25).scale).tolist() == [0.25, 0.25]
    assert array(ConvStep(2, 3, scale=0.5).norm.scale).tolist() == [0.5] * 3


@pytest.mark.parametrize("channels", [2, 3, 64])
def test_a_pointwise_kernel_has_the_variance_of_he_and_outputs_that_sum_to_zero(channels):
    kernel = array(ConvStep(channels, 12000 // channels * 4).pointwise)
    np.testing.assert_allclose(kernel.sum(0), 0, atol=1e-4)
    assert np.square(kernel).mean() == pytest.approx(2 / channels, rel=0.05)


def test_a_pointwise_kernel_of_one_channel_is_not_centred():
    assert np.square(array(ConvStep(1, 4000).pointwise)).mean() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    "kernel,causal,centre", [((3, 1), False, (1, 0)), ((15, 1), True, (14, 0)), ((3, 3), False, (1, 1))]
)
def test_a_depthwise_kernel_starts_near_the_identity(kernel, causal, centre):
    noise = array(ConvStep(3000, 1, kernel, causal=causal).depthwise)[..., 0]
    noise[centre] -= 1
    assert np.square(noise).mean(-1).sum() == pytest.approx(0.02, rel=0.05)  # over all taps
    assert np.abs(noise.mean(-1)).max() < 0.01


def test_experts_start_with_a_small_router_and_without_noise():
    layer = MixtureOfExperts(128, 192, 16, 2)
    assert [shape(w) for w in layer.weights] == [(128, 16), (128, 16), (16, 128, 192), (16, 192, 128)]
    assert np.square(array(layer.gate)).mean() == pytest.approx(0.01 / 128, rel=0.1)
    assert not array(layer.noise_scale).any()
    assert np.square(array(layer.expand)).mean() == pytest.approx(2 / 128, rel=0.02)
    assert np.square(array(layer.contract)).mean() == pytest.approx(1 / 192, rel=0.02)


def test_default_sizes_are_the_papers():
    step, res, block = ConvStep(4, 6), ConvRes(4, 6), ConvBlock(4)
    assert shape(step.depthwise) == (3, 1, 4, 1)
    assert [shape(s.depthwise) for s in (res.step1, res.step2, res.skip)] == [(3, 3, 4, 1), (3, 3, 6, 1), (1, 1, 4, 1)]
    x = np.ones((1, 5, 6, 4), np.float32)
    assert shape(step(x)) == (1, 5, 6, 6) and shape(res(x)) == (1, 3, 3, 6)
    assert [s.depthwise.shape[0] for s in (block.step1, block.step2, block.step3, block.step4)] == [3, 3, 15, 15]
    for norm in (block.step2.norm, block.step4.norm):
        assert array(norm.scale).tolist() == [1] * 4
    options = {"dropout": 0.0, "dropout_place": "branches", "residual_scale": 0.5}
    attention = AttentionBlock(8, 2, conv_options=options)
    assert len(attention.conv_blocks) == 2 and attention.source_attention.num_heads == 2
    scales = [[array(s.norm.scale)[0] for s in (b.step1, b.step2, b.step3, b.step4)] for b in attention.conv_blocks]
    assert scales == [[1, 0.5, 1, 0.5]] * 2
