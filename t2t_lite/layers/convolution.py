"""The convolutional blocks of the paper (section 2.2): ConvStep, ConvBlock and ConvRes.

Convolutions take (B, rows, columns, channels); a sequence is an image one column wide, with a row for each position.
Shapes: B batch, S input positions, D hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from t2t_lite.layers.full_precision import mean_of_rows, sum_of_columns, weighted_sum_of_rows
from t2t_lite.layers.layer import Layer, call_shared
from t2t_lite.layers.noise import dropout, layer_seed

_EPSILON = 1e-6  # of a layer norm
STEPS_OF_BLOCK = ((3, 1), (3, 1), (15, 1), (15, 8))  # the kernel height and dilation of a ConvBlock's steps


class LayerNorm(Layer):
    """Layer normalisation over channels; mean and variance are computed in float32 whatever the compute dtype.

    Args:
      channels: the size of the last axis.
      scale: the initial value of the learned scale (gamma).
    """

    def __init__(self, channels: int, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = self.add_weight(
            name="scale", shape=(channels,), initializer=keras.initializers.Constant(scale), autocast=False
        )
        self.shift = self.add_weight(name="shift", shape=(channels,), initializer="zeros", autocast=False)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(..., channels) -> (..., channels)."""
        rows = tf.reshape(x, [-1, x.shape[-1]])
        normal = _layer_norm(rows, tf.convert_to_tensor(self.scale), tf.convert_to_tensor(self.shift))
        return tf.reshape(normal, tf.shape(x))


@tf.custom_gradient
def _layer_norm(
    rows: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]]]:
    """scale * (rows - mean) / sqrt(variance + epsilon) + shift, with each row's mean and variance: (N, channels).

    A custom gradient: the automatic one stores and computes twice as much, and norms take most of a ConvStep's time on
    a CPU. It keeps the rows in their own dtype and two numbers a row, and computes the normalised rows again.
    """
    mean, centred, inverse = _statistics(rows)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        upstream = tf.cast(upstream, tf.float32)
        normal = (tf.cast(rows, tf.float32) - mean) * inverse
        product = upstream * normal
        weights = scale / rows.shape[-1]
        upstream_mean, product_mean = weighted_sum_of_rows(upstream, weights), weighted_sum_of_rows(product, weights)
        to_rows = (upstream * scale - upstream_mean - normal * product_mean) * inverse
        return tf.cast(to_rows, rows.dtype), sum_of_columns(product), sum_of_columns(upstream)

    return tf.cast(centred * inverse * scale + shift, rows.dtype), gradient


def _statistics(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """(N, channels) -> float32: means (N, 1), rows minus means (N, channels), 1 / sqrt(variance + epsilon) (N, 1)."""
    rows = tf.cast(rows, tf.float32)
    mean = mean_of_rows(rows)
    centred = rows - mean
    return mean, centred, tf.math.rsqrt(mean_of_rows(tf.square(centred)) + _EPSILON)


class ConvStep(Layer):
    """`LN(SepConv_{d,s,f}(W, ReLU(x)))`: depthwise convolution, pointwise convolution, layer norm (paper, section 2.2).

    Args:
      channels: the number of input channels.
      filters: the number of output channels.
      kernel: (h, w), its size in rows and columns.
      strides: (rows, columns).
      dilation: the distance between taps along rows; above 1 only for kernels one column wide.
      causal: pads only before the first row, so that an output row depends on no later input row.
      scale: the initial value of the layer norm's scale.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: tuple[int, int] = (3, 1),
        *,
        strides: tuple[int, int] = (1, 1),
        dilation: int = 1,
        causal: bool = False,
        scale: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if dilation > 1 and kernel[1] > 1:
            raise ValueError(f"a dilated kernel must be one column wide, not {kernel}")
        self._convolution = _Convolution(kernel, strides, dilation, causal)
        self.depthwise = self.add_weight(
            name="depthwise", shape=(*kernel, channels, 1), initializer=_near_identity(causal)
        )
        self.pointwise = self.add_weight(name="pointwise", shape=(channels, filters), initializer=_centred_he_normal)
        self.norm = LayerNorm(filters, scale, name=f"{self.name}.norm")

    def weight_values(self) -> list[tf.Tensor]:
        """The weights that `_conv_step` takes, those of products in the compute dtype."""
        weights = (self.depthwise, self.pointwise, self.norm.scale, self.norm.shift)
        return [tf.convert_to_tensor(weight) for weight in weights]

    def call(self, x: tf.Tensor, valid: tf.Tensor | None = None) -> tf.Tensor:
        """(B, rows, columns, channels), valid (B, rows) -> (B, ceil(rows / stride), ceil(columns / stride), filters).

        Padded rows (valid False) are zeroed before the convolution.
        """
        mask = None if valid is None else tf.cast(valid, x.dtype)[:, :, None, None]
        return _conv_step(x, mask, self.weight_values(), self._convolution)

    def after_depthwise(self, x: tf.Tensor) -> tf.Tensor:
        """The pointwise convolution and the norm of rows (N, channels) -> (N, filters)."""
        rows = tf.matmul(x, tf.cast(self.pointwise, x.dtype))
        _, centred, inverse = _statistics(rows)
        return tf.cast(centred * inverse * self.norm.scale + self.norm.shift, x.dtype)


class _Convolution(NamedTuple):
    """The form of a ConvStep's depthwise convolution."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: int
    causal: bool


def _conv_step(
    x: tf.Tensor, mask: tf.Tensor | None, weights: Sequence[tf.Tensor], convolution: _Convolution
) -> tf.Tensor:
    """A ConvStep as a function of its weights; mask (B, rows, 1, 1) is 0 at padded rows and 1 elsewhere."""
    depthwise, pointwise, scale, shift = weights
    x = tf.nn.relu(x)
    if mask is not None:
        x = x * mask
    x = _convolve(x, depthwise, convolution)
    rows = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), pointwise)
    return tf.reshape(_layer_norm(rows, scale, shift), tf.concat([tf.shape(x)[:3], [pointwise.shape[1]]], 0))


def _convolve(x: tf.Tensor, depthwise: tf.Tensor, convolution: _Convolution) -> tf.Tensor:
    """The depthwise convolution; output row r is centred on input row r * stride, or ends there if causal."""
    (height, width), strides, dilation, causal = convolution
    if dilation > 1:
        return convolve_dilated(x, depthwise, dilation, causal)
    if not causal and strides == (1, 1):
        return tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME")
    above = height - 1 if causal else (height - 1) // 2
    left = (width - 1) // 2
    x = tf.pad(x, [[0, 0], [above, height - 1 - above], [left, width - 1 - left], [0, 0]])
    if (height, width) == (1, 1):
        return tf.nn.depthwise_conv2d(x[:, :: strides[0], :: strides[1]], depthwise, [1, 1, 1, 1], "VALID")
    if strides[0] == strides[1]:
        return tf.nn.depthwise_conv2d(x, depthwise, [1, *strides, 1], "VALID")
    # tf.nn.depthwise_conv2d refuses unequal strides.
    return tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "VALID")[:, :: strides[0], :: strides[1]]


def convolve_dilated(x: tf.Tensor, depthwise: tf.Tensor, dilation: int, causal: bool) -> tf.Tensor:
    """Folds row s = r * dilation + q into row r, column q, so that dilated taps become neighbours.

    Leaves out the taps that could only meet padding: 16 positions use 2 (causal) or 3 of 15 taps dilated by 8.
    """
    batch, rows, columns, _ = tf.unstack(tf.shape(x))
    channels = depthwise.shape[2]
    folded = -(-rows // dilation)
    x = tf.pad(x, [[0, 0], [0, folded * dilation - rows], [0, 0], [0, 0]])
    x = tf.reshape(x, [batch, folded, dilation * columns, channels])
    taps = depthwise.shape[0]
    before = taps - 1 if causal else (taps - 1) // 2
    above, below = tf.minimum(before, folded - 1), tf.minimum(taps - 1 - before, folded - 1)
    x = tf.pad(x, [[0, 0], [above, below], [0, 0], [0, 0]])
    x = tf.nn.depthwise_conv2d(x, depthwise[before - above : before + below + 1], [1, 1, 1, 1], "VALID")
    return tf.reshape(x, [batch, folded * dilation, columns, channels])[:, :rows]


def _centred_he_normal(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
    """Initializes a pointwise kernel by He et al. (2015), with each output's weights shifted to sum to zero.

    The outputs of a ReLU have a positive mean common to all inputs. A stack of kernels that pass this mean on maps all
    inputs to nearly the same output (only 8% of the image net's variance was between images), and classification stays
    at chance.
    """
    weights = keras.initializers.HeNormal()(shape, dtype="float32")
    if shape[0] == 1:
        return weights
    return (weights - tf.reduce_mean(weights, 0)) * (shape[0] / (shape[0] - 1)) ** 0.5


def _near_identity(causal: bool) -> Callable[..., tf.Tensor]:
    """Initializes a depthwise kernel as the identity plus noise whose variance, summed over the taps, is 0.02.

    A deep stack of purely random kernels smears the small details of an image: classification of shapes then stays at
    chance for hundreds of steps.
    """
    noise = keras.initializers.VarianceScaling(scale=0.02, mode="fan_in", distribution="uniform")

    def initialize(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
        height, width, channels, _ = shape
        centre = height - 1 if causal else (height - 1) // 2
        identity = np.zeros(shape, np.float32)
        identity[centre, (width - 1) // 2] = 1.0
        # A channel's fan-in is its number of taps, as for a kernel of one input channel.
        return identity + tf.reshape(noise((height, width, 1, channels), dtype="float32"), shape)

    return initialize


class ConvBlock(Layer):
    """Four ConvSteps with two residual connections and dropout (paper, section 2.2).

        hidden1 = ConvStep(3x1, x)
        hidden2 = x + ConvStep(3x1, hidden1)
        hidden3 = ConvStep(15x1, hidden2)
        hidden4 = x + ConvStep(15x1, dilation 8, hidden3)

    Args:
      hidden_size: D.
      causal: pads on the left only, as mixer and decoder do.
      dropout: the rate in training.
      dropout_place: "output": on hidden4, the paper's formula; "branches": on the two residual branches. At the
        paper's depth only "branches" trains.
      residual_scale: the initial scale of the norms that end the two branches; 1 in the paper.
      recompute: in training, keeps only the block's input and computes the block again in the backward pass: about a
        third more time for a fraction of the memory; the gradients are the same.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        causal: bool = False,
        dropout: float = 0.4,
        dropout_place: str = "output",
        residual_scale: float = 1.0,
        recompute: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)

        def conv_step(number: int, scale: float = 1.0) -> ConvStep:
            height, dilation = STEPS_OF_BLOCK[number - 1]
            name = f"{self.name}.step{number}"
            kernel = (height, 1)
            return ConvStep(hidden_size, hidden_size, kernel, dilation=dilation, causal=causal, scale=scale, name=name)

        self.step1, self.step2 = conv_step(1), conv_step(2, residual_scale)
        self.step3, self.step4 = conv_step(3), conv_step(4, residual_scale)
        rates = {place: dropout if dropout_place == place else 0.0 for place in ("branches", "output")}
        self._form = _BlockForm(causal, rates["branches"], rates["output"], recompute)

    def call(self, x: tf.Tensor, valid: tf.Tensor | None = None, noise: tf.Tensor | None = None) -> tf.Tensor:
        """(B, S, D), valid (B, S) -> (B, S, D)."""
        tensors = {"x": x}
        if valid is not None:
            tensors["valid"] = valid
        if noise is not None:
            tensors["seed"] = layer_seed(noise, self.name)
        weights = [w for step in self.steps for w in step.weight_values()]
        return call_shared(_block, self._form, tensors, weights)

    @property
    def steps(self) -> tuple[ConvStep, ConvStep, ConvStep, ConvStep]:
        """The four ConvSteps; layers/convolution_steps.py runs them for one position at a time."""
        return self.step1, self.step2, self.step3, self.step4


class _BlockForm(NamedTuple):
    """The settings of a ConvBlock."""

    causal: bool
    branch_dropout: float
    output_dropout: float
    recompute: bool


def _block(form: _BlockForm, tensors: Mapping[str, tf.Tensor], weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """A ConvBlock as a function of its weights; tensors: x, and optionally valid and the seed of dropout."""
    mask, seed = None, tensors.get("seed")
    if "valid" in tensors:
        mask = tf.cast(tensors["valid"], tensors["x"].dtype)[:, :, None, None]

    def transform(x: tf.Tensor, *weights: tf.Tensor) -> tf.Tensor:
        def step(number: int, x: tf.Tensor) -> tf.Tensor:
            height, dilation = STEPS_OF_BLOCK[number]
            convolution = _Convolution((height, 1), (1, 1), dilation, form.causal)
            return _conv_step(x, mask, weights[4 * number : 4 * number + 4], convolution)

        hidden1 = step(0, x)
        hidden2 = x + dropout(step(1, hidden1), form.branch_dropout, seed, "2")
        hidden3 = step(2, hidden2)
        hidden4 = x + dropout(step(3, hidden3), form.branch_dropout, seed, "4")
        return dropout(hidden4, form.output_dropout, seed, "output")

    if form.recompute and seed is not None:
        transform = tf.recompute_grad(transform)
    x = tf.expand_dims(tensors["x"], 2)  # the gradient of x[:, :, None] would copy
    return tf.squeeze(transform(x, *weights), 2)


class ConvRes(Layer):
    """`MaxPool_{3x3, stride 2}(ConvStep(3x3, ConvStep(3x3, x))) + ConvStep_{stride 2}(1x1, x)` (paper, section 2.5.2).

    Args:
      channels: the number of input channels.
      filters: the number of output channels.
      kernel: (h, w) of both convolutions and of the pooling; (3, 1) for a waveform.
      strides: (rows, columns); (2, 1) for a spectrogram, which is not strided over frequency.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (2, 2),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kernel_size, self.strides = kernel, strides
        self.step1 = ConvStep(channels, filters, kernel, name=f"{self.name}.step1")
        self.step2 = ConvStep(filters, filters, kernel, name=f"{self.name}.step2")
        self.skip = ConvStep(channels, filters, (1, 1), strides=strides, name=f"{self.name}.skip")

    def call(self, x: tf.Tensor, valid: tf.Tensor | None = None) -> tf.Tensor:
        """(B, rows, columns, channels), valid (B, rows) -> (B, ceil(rows/stride), ceil(columns/stride), filters)."""
        hidden = self.step2(self.step1(x, valid=valid), valid=valid)
        return max_pool(hidden, self.kernel_size, self.strides, valid) + self.skip(x, valid=valid)


def max_pool(
    x: tf.Tensor, kernel: tuple[int, int], strides: tuple[int, int], valid: tf.Tensor | None = None
) -> tf.Tensor:
    """Max-pools over windows centred on every stride-th row and column, ignoring padded rows.

    (B, rows, columns, channels), valid (B, rows) -> (B, ceil(rows / stride), ceil(columns / stride), channels).
    """
    lowest = x.dtype.min
    if valid is not None:
        x = tf.where(valid[:, :, None, None], x, lowest)
    pads = [[0, 0], *[[(k - 1) // 2, k - 1 - (k - 1) // 2] for k in kernel], [0, 0]]
    x = _max_pool(tf.pad(x, pads, constant_values=lowest), kernel, strides)
    if valid is not None:  # zero where the window's centre is padding
        x = tf.where(valid[:, :: strides[0]][:, :, None, None], x, tf.zeros([], x.dtype))
    return x


def _max_pool(x: tf.Tensor, kernel: tuple[int, int], strides: tuple[int, int]) -> tf.Tensor:
    """Max-pools without padding.

    The backward pass pools again: with forward and backward operation in one graph, TensorFlow uses a gradient kernel
    that is several times faster on a CPU.
    """

    @tf.custom_gradient
    def pool(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.nn.max_pool2d(x, kernel, strides, "VALID")
            return tape.gradient(y, x, upstream)

        return tf.nn.max_pool2d(x, kernel, strides, "VALID"), gradient

    return pool(x)
