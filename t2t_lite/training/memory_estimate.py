"""Estimates the peak memory of a training step from the hparams and the shape of a batch, without building tensors.

The backward pass keeps more than the equations suggest: TensorFlow keeps both factors of a product and both terms of a
sum whose shapes are known at run time only. The functions below count, layer by layer, what it was seen to keep
(tests/training/test_memory_estimate.py compares them with the tensors that the traced graphs really hold).

Shapes: B batch, S input positions, T target positions, D hidden, H heads, E experts, k experts per position, F filter
size, V vocabulary or classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, NamedTuple

from t2t_lite.data import lengths
from t2t_lite.hparams import HParams
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Audio, Feature, Image, Inputs, Label, Text
from t2t_lite.problems.features import parts as parts_of

GPU_SIZES = (16, 24, 40, 80, 141)  # GB of the GPUs that are sold
_GPU_SHARE = 0.92  # of a GPU's memory; the rest is CUDA's context, its libraries' and fragmentation
_DILATION, _TAPS = 8, 15  # of a ConvBlock's last step
_NORM_TENSORS = 6  # float32 tensors of a norm's size that its backward pass holds at a time
_LOGIT_TENSORS = 1  # the same of the softmax, beside the two that are kept


@dataclass(frozen=True)
class Kept:
    """Numbers of elements that the backward pass keeps, by type."""

    computed: int = 0  # in the compute type
    float32: int = 0
    flags: int = 0  # bool
    largest: int = 0  # elements of the largest tensor that a norm reads

    def __add__(self, other: "Kept") -> "Kept":
        return Kept(
            self.computed + other.computed,
            self.float32 + other.float32,
            self.flags + other.flags,
            max(self.largest, other.largest),
        )

    def __mul__(self, times: int) -> "Kept":
        return Kept(times * self.computed, times * self.float32, times * self.flags, self.largest)

    def bytes(self, hparams: HParams) -> int:
        """The memory that they take."""
        return compute_bytes(hparams) * self.computed + 4 * self.float32 + self.flags


def compute_bytes(hparams: HParams) -> int:
    """The bytes of a number in the compute type."""
    return 4 if hparams.precision == "float32" else 2


# What each layer keeps, for one example.


def norm(rows: int, channels: int) -> Kept:
    """LayerNorm: its input, and the mean and the inverse deviation of each row."""
    return Kept(rows * channels, 2 * rows, largest=rows * channels)


def conv_step(rows: int, channels: int, filters: int, *, masked: bool = False, padding: int = 0) -> Kept:
    """ConvStep without stride: ReLU, its product with the mask, a padded copy, the depthwise output, the norm's input.

    Args:
      rows: positions, rows times columns of a picture.
      channels: of the input.
      filters: of the output.
      masked: whether padding is zeroed.
      padding: positions of the padded copy, if padding is a step of its own.
    """
    return Kept(channels * ((2 + masked) * rows + padding)) + norm(rows, filters)


def conv_block(length: int, hparams: HParams, *, causal: bool) -> Kept:
    """ConvBlock over a sequence. The encoder's has a mask, those of mixer and decoder are causal."""
    size = hparams.hidden_size
    output = Kept(length * size)
    if hparams.recompute:
        return output

    def step(taps: int) -> Kept:
        return conv_step(length, size, size, masked=not causal, padding=causal * (length + taps - 1))

    # The dilated step folds each 8 rows into one: a copy of whole rows, with padding on one side or both.
    folded = ceil(length / _DILATION)
    margin = min(_TAPS - 1, folded - 1) if causal else 2 * min(_TAPS // 2, folded - 1)
    whole = bool(length % _DILATION) * length + _DILATION * (folded + margin)
    dilated = conv_step(length, size, size, masked=not causal) + Kept(size * (whole + _DILATION * folded))
    kept = step(3) + step(3) + step(_TAPS) + dilated + output
    kept += Kept(2 * length * size)  # the outputs of the two norms that end a residual branch
    if hparams.dropout:
        dropouts = 2 if hparams.dropout_place == "branches" else 1
        kept += Kept(2 * length * size, flags=length * size) * dropouts  # scaled, selected; what is kept
    return kept


def recomputed_block(length: int, hparams: HParams, *, causal: bool) -> Kept:
    """What the backward pass of one ConvBlock computes again if hparams.recompute is set."""
    return conv_block(length, hparams.replace(recompute=False), causal=causal) if hparams.recompute else Kept()


def experts(length: int, hparams: HParams) -> Kept:
    """The norm's output, the router's float32 scores, rows and hidden units of k experts a position, the output."""
    size, chosen, number = hparams.hidden_size, hparams.experts_per_position, hparams.num_experts
    scores = (15 if hparams.gating_noise else 4) + 2 * chosen
    rows = chosen * (2 * size + hparams.filter_size)
    cast = size if hparams.precision != "float32" else 0
    return Kept(length * (3 * size + rows), length * (scores * number + cast))


def attention(targets: int, sources: int, hparams: HParams) -> Kept:
    """The norm's output, queries twice, mixed values, output and sum; keys and values; the scores.

    The scores are (H, T, S): in the compute type, then masked and as weights in float32, and these in the compute type.
    """
    scores = hparams.num_heads * targets * sources
    computed = hparams.hidden_size * (6 * targets + 2 * sources)
    if hparams.precision == "float32":
        return Kept(computed, 3 * scores)
    return Kept(computed + 2 * scores, 2 * scores)


def attention_block(targets: int, sources: int, hparams: HParams) -> Kept:
    """AttentionBlock: the target with its timing signal, ConvBlocks, both attentions."""
    kept = Kept(targets * hparams.hidden_size)
    kept += conv_block(targets, hparams, causal=True) * hparams.attention_conv_blocks
    if not hparams.use_attention:
        return kept
    return kept + attention(targets, targets, hparams) + attention(targets, sources, hparams)


def feed_forward(length: int, hparams: HParams) -> Kept:
    """FeedForward with its norm and sum: rows of the norm and of the product, hidden units."""
    return Kept(length * (3 * hparams.hidden_size + hparams.filter_size))


def transformer_block(length: int, source: int, hparams: HParams) -> Kept:
    """EncoderBlock (source 0) or DecoderBlock: attentions and the feed-forward network, each with norm and dropout."""
    size = hparams.hidden_size
    kept = attention(length, length, hparams) + feed_forward(length, hparams)
    if source:
        kept += attention(length, source, hparams)
    if hparams.dropout:
        kept += Kept(2 * length * size, flags=length * size) * (3 if source else 2)
    return kept


def conv_res(
    rows: int, columns: int, channels: int, filters: int, *, strides: tuple[int, int], masked: bool = False
) -> Kept:
    """ConvRes: two steps over all positions, the pooling's padded input and its output, the strided skip step."""
    positions, out = rows * columns, ceil(rows / strides[0]) * ceil(columns / strides[1])
    around = (rows + 2) * (columns + 2 if columns > 1 else 1)
    kept = conv_step(positions, channels, filters, masked=masked)
    kept += conv_step(positions, filters, filters, masked=masked) + Kept(positions * filters)
    kept += Kept(filters * (around + out) + masked * filters * (positions + out))
    # The skip step shares its ReLU with the first one.
    return kept + Kept(out * (2 * channels + filters)) + norm(out, filters)


def image_net(feature: Image, hparams: HParams) -> Kept:
    """The image net: pixels and their complements, two ConvSteps, three ConvRes."""
    width, strides = hparams.image_width, [2 if i < hparams.image_strides else 1 for i in range(4)]
    rows, columns = feature.rows, feature.columns
    pixels = rows * columns
    kept = Kept(computed=3 * pixels, float32=3 * pixels)  # the float32 ones are the batch's
    if hparams.precision != "float32":
        kept += Kept(3 * pixels)
    patches = hparams.image_patches and strides[0] == 2
    rows, columns = ceil(rows / strides[0]), ceil(columns / strides[0])
    channels = 24 if patches else 6
    if patches or strides[0] == 1:
        kept += conv_step(rows * columns, channels, width)
    else:
        around = (feature.rows + 2) * (feature.columns + 2)
        kept += Kept(6 * (pixels + around + rows * columns)) + norm(rows * columns, width)
    kept += conv_step(rows * columns, width, 2 * width)
    widths = [2 * width, 4 * width, 8 * width, hparams.hidden_size]
    for before, after, stride in zip(widths, widths[1:], strides[1:], strict=False):
        kept += conv_res(rows, columns, before, after, strides=(stride, stride))
        rows, columns = ceil(rows / stride), ceil(columns / stride)
    return kept + Kept(rows * columns * hparams.hidden_size)


def audio_net(samples: int, feature: Audio, hparams: HParams) -> Kept:
    """The audio net: ConvRes blocks that halve time, over mel bands or a waveform, then a pointwise product."""
    time, bands = samples, 1
    if hparams.audio_form == "spectrogram":
        time, bands = ceil(samples / _hop(feature, hparams)), hparams.audio_mels
    kept, channels = Kept(), 2
    for block in range(hparams.audio_blocks):
        filters = hparams.audio_width * 2**block
        kept += conv_res(time, bands, channels, filters, strides=(2, 1), masked=True)
        time, channels = ceil(time / 2), filters
    return kept + Kept(time * (bands * channels + hparams.hidden_size))


def categorical_net(rows: int, columns: int, classes: int, hparams: HParams) -> Kept:
    """The categorical net over the encoded input, from the skip step to the logits."""
    size, width = hparams.hidden_size, hparams.categorical_width
    positions, out = rows * columns, ceil(rows / 2) * ceil(columns / 2)
    around = (rows + 2) * (columns + 2)
    kept = conv_step(positions, size, size, masked=True) * 2 + Kept(positions * size)
    kept += Kept(size * (positions + 2 * out + 2 * around))  # the pooling's mask, outputs and padded inputs
    kept += Kept(2 * out * size) + norm(out, size)  # the skip step
    kept += conv_step(out, size, width, masked=True) + conv_step(out, width, width * 4 // 3, masked=True)
    return kept + Kept(float32=2 * out * (width * 4 // 3) + 3 * classes)


def logits(targets: int, vocab_size: int, hparams: HParams) -> Kept:
    """The softmax over a vocabulary: float32 logits and the gradient that the cross entropy stores with its loss."""
    cast = hparams.hidden_size if hparams.precision != "float32" else 0
    return Kept(float32=targets * (2 * vocab_size + cast))


# A batch.


@dataclass(frozen=True)
class BatchShape:
    """The shape of a batch: `examples`, each padded to `boundary` positions of the longer side."""

    examples: int
    boundary: int

    def length(self, feature: Feature) -> int:
        """The positions of a feature in this batch at most, as lengths.positions counts them."""
        return min(self.boundary, lengths.positions(feature, lengths.max_length(feature)))


def grid(feature: Feature, shape: BatchShape, hparams: HParams) -> tuple[int, int]:
    """Rows and columns of the encoder's positions of one example."""
    if isinstance(feature, Image):
        factor = 2**hparams.image_strides
        return ceil(feature.rows / factor), ceil(feature.columns / factor)
    if isinstance(feature, Audio):
        time = shape.length(feature) * lengths.SAMPLES_PER_POSITION
        if hparams.audio_form == "spectrogram":
            time = ceil(time / _hop(feature, hparams))
        return ceil(time / 2**hparams.audio_blocks), 1
    return shape.length(feature), 1


def grid_of_inputs(inputs: Inputs, shape: BatchShape, hparams: HParams) -> tuple[int, int]:
    """Rows and columns of the encoder's positions of one example's inputs; several are one sequence."""
    if not isinstance(inputs, tuple):
        return grid(inputs, shape, hparams)
    return sum(prod(grid(feature, shape, hparams)) for feature in inputs), 1


def activations(
    problem: Problem, shape: BatchShape, vocab_size: int, hparams: HParams, body: str = "multi_model"
) -> dict[str, Kept]:
    """What the backward pass of a whole batch keeps, by part of the model.

    Args:
      problem: the problem.
      shape: the shape of the batch, or of a replica's part of it.
      vocab_size: V of the targets, as loaded.
      hparams: the model's hparams.
      body: the kind of its body, as BaseBody names it.
    """
    size, targets = hparams.hidden_size, problem.targets
    rows, columns = grid_of_inputs(problem.inputs, shape, hparams)
    source = rows * columns
    kept: dict[str, Kept] = {}
    for inputs in parts_of(problem.inputs):
        if isinstance(inputs, Image):
            part, one = "image net", image_net(inputs, hparams)
        elif isinstance(inputs, Audio):
            samples = shape.length(inputs) * lengths.SAMPLES_PER_POSITION
            part, one = "audio net", audio_net(samples, inputs, hparams)
        else:
            part, one = "text", Kept(2 * prod(grid(inputs, shape, hparams)) * size)  # looked up, and scaled
        kept[part] = kept.get(part, Kept()) + one
    if isinstance(problem.inputs, tuple):
        kept["text"] = kept.get("text", Kept()) + Kept(2 * source * size)  # with places, and one after the other
    length = 0 if isinstance(targets, Label) else shape.length(targets)
    kept |= (_transformer if body == "transformer" else _multi_model)(source, length, hparams)
    if isinstance(targets, Label):
        kept["categorical net"] = categorical_net(rows, columns, len(targets.classes), hparams)
    else:
        kept["text"] = kept.get("text", Kept()) + Kept(2 * length * size)
        kept["softmax"] = logits(length, vocab_size, hparams)
    return {part: one * shape.examples for part, one in kept.items()}


def _multi_model(source: int, length: int, hparams: HParams) -> dict[str, Kept]:
    """The body of a MultiModel for `source` positions of the input and `length` of the targets, 0 for a class."""
    size = hparams.hidden_size
    encoder = Kept(2 * source * size) + conv_block(source, hparams, causal=False) * hparams.encoder_blocks
    kept = {"encoder": encoder + (experts(source, hparams) if hparams.use_experts else Kept())}
    if length:
        block, one = attention_block(length, source, hparams), conv_block(length, hparams, causal=True)
        kept["mixer"] = Kept(2 * length * size) + block + one * hparams.mixer_blocks
        decoder = (block + one) * hparams.decoder_blocks + Kept(2 * length * size)
        kept["decoder"] = decoder + (experts(length, hparams) if hparams.use_experts else Kept())
    return kept


def _transformer(source: int, length: int, hparams: HParams) -> dict[str, Kept]:
    """The body of a Transformer, as `_multi_model`."""

    def ends(positions: int) -> Kept:
        """The sum with the timing signal and its dropout; the last norm and its output."""
        dropped = Kept(2 * positions * hparams.hidden_size, flags=positions * hparams.hidden_size)
        return Kept(3 * positions * hparams.hidden_size) + (dropped if hparams.dropout else Kept())

    kept = {"encoder": ends(source) + transformer_block(source, 0, hparams) * hparams.encoder_blocks}
    if length:
        kept["decoder"] = ends(length) + transformer_block(length, source, hparams) * hparams.decoder_blocks
    return kept


# A training step.


@dataclass(frozen=True)
class Estimate:
    """The peak memory of training one problem with batches of one shape, in bytes, by cause."""

    problem: str
    shape: BatchShape
    weights: Mapping[str, int]  # weights, optimizer state and moving average
    activations: Mapping[str, int]  # what the backward pass keeps, by part of the model
    gradients: int  # of the weights that the problem uses
    moments: Mapping[str, int]  # bytes beside the weights at the moments that may be the peak

    @property
    def worst(self) -> str:
        """The moment of the peak."""
        return max(self.moments, key=self.moments.__getitem__)

    @property
    def step(self) -> int:
        """The bytes beside the weights at the peak."""
        return self.moments[self.worst]

    @property
    def total(self) -> int:
        """The peak."""
        return sum(self.weights.values()) + self.step


class Trained(NamedTuple):
    """A problem, and the sizes of what its steps train."""

    problem: Problem
    elements: int  # of the weights that its steps change
    first: int  # of those among them whose gradients come first: of mixer, decoder and the targets' net
    cast: int  # of the weights that it uses and that are cast to the compute type as a whole
    vocab_size: int  # V of a text as loaded
    body: str = "multi_model"  # the kind of the model's body

    @classmethod
    def of(cls, model: Any, name: str) -> "Trained":
        """Counts the weights of a problem in a model, whose variables may lack memory."""
        problem = model.problems[name]
        parts, targets = model.parts(name), model.net(problem.targets)
        sizes = {part: sum(prod(v.shape) for v in variables if v.trainable) for part, variables in parts.items()}
        nets = {model.net(feature).name for feature in parts_of(problem.inputs)}
        later = {model.body.encoder.name, "places", *nets} - {targets.name}
        first = sum(size for part, size in sizes.items() if part not in later)
        used = [variable for variables in parts.values() for variable in variables]
        cast = sum(prod(variable.shape) for variable in used if getattr(variable, "_autocast", True))
        kind = getattr(model.body, "kind", "multi_model")
        return cls(problem, sum(sizes.values()), first, cast, targets.vocab_size, kind)


def estimate(
    trained: Trained, hparams: HParams, shape: BatchShape, weights: Mapping[str, int], replicas: int = 1
) -> Estimate:
    """Returns the estimate for one replica.

    Args:
      trained: the problem.
      hparams: the model's hparams, or others in what does not change its weights.
      shape: the shape of a whole batch, which replicas and micro-batches divide.
      weights: from dry_run.persistent_bytes.
      replicas: the number of replicas.
    """
    micro = hparams.accumulate_steps
    shape = BatchShape(ceil(shape.examples / (replicas * micro)), shape.boundary)
    kept = activations(trained.problem, shape, trained.vocab_size, hparams, trained.body)
    activated = {part: one.bytes(hparams) for part, one in kept.items()}
    if hparams.precision != "float32":
        activated["cast weights"] = 2 * trained.cast
    return Estimate(
        problem=trained.problem.name,
        shape=shape,
        weights=weights,
        activations=activated,
        gradients=4 * trained.elements,
        moments=_moments(trained, shape, kept, activated, hparams),
    )


def _moments(
    trained: Trained, shape: BatchShape, kept: Mapping[str, Kept], activated: Mapping[str, int], hparams: HParams
) -> dict[str, int]:
    """The bytes beside the weights at each moment that may be the peak.

    The backward pass goes from the targets' net to the inputs' net; each part frees what it kept when it is done.
    """
    problem, every, first = trained.problem, 4 * trained.elements, 4 * trained.first
    micro = hparams.accumulate_steps
    source, length = prod(grid_of_inputs(problem.inputs, shape, hparams)), shape.length(problem.targets)
    parts = ("softmax", "categorical net"), ("mixer", "decoder"), ("encoder",), ("image net", "audio net", "text")
    held = {names: sum(activated.get(name, 0) for name in names) for names in parts}
    after = [sum(list(held.values())[i:]) + activated.get("cast weights", 0) for i in range(len(parts))]

    def norms(names: tuple[str, ...]) -> int:
        largest = max((kept[name].largest for name in names if name in kept), default=0)
        return 4 * _NORM_TENSORS * shape.examples * largest

    def body(positions: int, causal: bool) -> int:
        """What an expert layer's or a recomputed block's backward pass holds."""
        again = recomputed_block(positions, hparams, causal=causal).bytes(hparams) * shape.examples
        if not hparams.use_experts:
            return again
        # The gradients of the experts' weights are lists of tensors, one for each expert that served, then stacked.
        served = min(hparams.num_experts, shape.examples * positions * hparams.experts_per_position)
        return max(again, 4 * served * 2 * hparams.hidden_size * hparams.filter_size)

    softmax = 4 * _LOGIT_TENSORS * shape.examples * length * trained.vocab_size
    sums = every if micro > 1 else 0  # the sum of the micro-batches before
    moments = {
        "backward pass, targets": after[0] + max(softmax, norms(parts[0])) + sums,
        "backward pass, encoder": after[2] + max(norms(parts[2]), body(source, False)) + every + sums,
        "backward pass, inputs": after[3] + norms(parts[3]) + every + sums,
        # Gradients and clipped copies; in an all-reduce, sums and summands. Adding up micro-batches: the sum so far,
        # the summand and the new sum.
        "update": (2 if micro == 1 else 3) * every,
    }
    if isinstance(problem.targets, Text):
        moments["backward pass, decoder"] = after[1] + max(norms(parts[1]), body(length, True)) + first + sums
    return moments


def shapes(problem: Problem, hparams: HParams, positions: Mapping[int, int] | None = None) -> list[BatchShape]:
    """The shapes of full batches of a problem: one for each bucket that has examples, the longest if none has.

    Args:
      problem: the problem.
      hparams: read by lengths.batch_sizes.
      positions: {positions of the longer side: number of examples}, from a manifest; None for all buckets.
    """
    sizes = lengths.batch_sizes(problem, hparams, positions)
    counts = dict.fromkeys(sizes, 1) if positions is None else lengths.count_in_buckets(positions, list(sizes))
    full = [BatchShape(examples, boundary) for boundary, examples in sizes.items()]
    return [shape for shape in full if counts[shape.boundary]] or full[-1:]


def heaviest_shapes(
    trained: Trained, hparams: HParams, full: Sequence[BatchShape], replicas: int = 1
) -> list[BatchShape]:
    """Returns the shapes whose batches may exhaust the memory, at most three.

    Those whose estimate is within a tenth of the largest one's, the heaviest first, and the one with most examples: a
    batch of captions is heaviest at its shortest.
    """
    steps = {shape: estimate(trained, hparams, shape, {}, replicas).step for shape in full}
    heaviest = sorted(full, key=lambda shape: -steps[shape])
    close = [shape for shape in heaviest if steps[shape] >= 0.9 * steps[heaviest[0]]]
    most = max(full, key=lambda shape: (shape.examples, shape.boundary))
    return list(dict.fromkeys([close[0], most, *close[1:]]))[:3]


def smallest_gpu(peak: int) -> int | None:
    """The least of GPU_SIZES, in GB, that holds `peak` bytes; None if none does."""
    return next((size for size in GPU_SIZES if peak <= _GPU_SHARE * size * 10**9), None)


def _hop(feature: Audio, hparams: HParams) -> int:
    return round(feature.sample_rate * hparams.audio_frame_ms / 1000)
