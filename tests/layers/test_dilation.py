"""A dilated ConvStep at the smallest dilations, and where fewer rows than taps are left."""

import pytest
import reference
from checks import close, floats, normal, randomize

from t2t_lite.layers.convolution import ConvStep


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_equals_numpy(causal, dilation, length):
    layer, x = randomize(ConvStep(2, 3, (5, 1), dilation=dilation, causal=causal)), normal(2, length, 1, 2)
    close(layer(floats(x)), reference.conv_step(layer, x, (5, 1), dilation=dilation, causal=causal))


def test_a_wide_kernel_cannot_be_dilated():
    with pytest.raises(ValueError):
        ConvStep(2, 3, (3, 2), dilation=2)
    ConvStep(2, 3, (3, 2))
    ConvStep(2, 3, (3, 1), dilation=2)
