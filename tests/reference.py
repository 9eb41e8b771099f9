"""The paper's equations in plain NumPy (float64), which the layers are tested against.

Written from the paper, not from the layers; of a Keras layer only the weights are read. What the paper does not specify
(residual connections and norms around attention and experts) follows the docstrings of the layers.
Shapes: B batch, S input positions, T target positions, D hidden, H heads, E experts, V vocabulary or classes,
N positions.
"""

import math

import numpy as np

EPSILON = 1e-6  # of every layer norm


def array(weight):
    return np.asarray(weight.numpy(), np.float64)


def relu(x):
    return np.where(x > 0, x, 0.0)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def layer_norm(layer, x):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON) * array(layer.scale) + array(layer.shift)


# Convolution


def sepconv(x, depthwise, pointwise, strides=(1, 1), dilation=1, causal=False):
    """(B, R, C, D), depthwise (h, w, D), pointwise (D, F) -> (B, ceil(R / stride), ceil(C / stride), F)."""
    height, width = depthwise.shape[:2]
    rows, columns = x.shape[1:3]
    above = height - 1 if causal else height // 2
    out = np.zeros((len(x), math.ceil(rows / strides[0]), math.ceil(columns / strides[1]), x.shape[3]))
    for r in range(out.shape[1]):
        for c in range(out.shape[2]):
            for i in range(height):
                for j in range(width):
                    row = r * strides[0] + (i - above) * dilation
                    column = c * strides[1] + j - width // 2
                    if 0 <= row < rows and 0 <= column < columns:
                        out[:, r, c] += x[:, row, column] * depthwise[i, j]
    return out @ pointwise


def conv_step(layer, x, kernel, strides=(1, 1), dilation=1, causal=False, valid=None):
    """`LN(SepConv(W, ReLU(x)))`, with padded rows zeroed before the convolution."""
    depthwise = array(layer.depthwise)[..., 0]
    assert depthwise.shape[:2] == kernel
    x = relu(x)
    if valid is not None:
        x = x * valid[:, :, None, None]
    return layer_norm(layer.norm, sepconv(x, depthwise, array(layer.pointwise), strides, dilation, causal))


def conv_block(layer, x, causal=False, valid=None):
    """(B, S, D) -> (B, S, D)."""
    x = x[:, :, None]
    hidden1 = conv_step(layer.step1, x, (3, 1), causal=causal, valid=valid)
    hidden2 = x + conv_step(layer.step2, hidden1, (3, 1), causal=causal, valid=valid)
    hidden3 = conv_step(layer.step3, hidden2, (15, 1), causal=causal, valid=valid)
    hidden4 = x + conv_step(layer.step4, hidden3, (15, 1), dilation=8, causal=causal, valid=valid)
    return hidden4[:, :, 0]


def max_pool(x, kernel, strides, valid=None):
    """Windows are centred on every stride-th row and column; a window without a valid row gives 0."""
    batch, rows, columns, channels = x.shape
    out = np.zeros((batch, math.ceil(rows / strides[0]), math.ceil(columns / strides[1]), channels))
    for b, r, c in np.ndindex(out.shape[:3]):
        window = [
            x[b, row, column]
            for row in range(r * strides[0] - kernel[0] // 2, r * strides[0] + kernel[0] // 2 + 1)
            for column in range(c * strides[1] - kernel[1] // 2, c * strides[1] + kernel[1] // 2 + 1)
            if 0 <= row < rows and 0 <= column < columns and (valid is None or valid[b, row])
        ]
        if window:
            out[b, r, c] = np.max(window, axis=0)
    return out


def conv_res(layer, x, kernel=(3, 3), strides=(2, 2), valid=None):
    hidden = conv_step(layer.step1, x, kernel, valid=valid)
    hidden = conv_step(layer.step2, hidden, kernel, valid=valid)
    return max_pool(hidden, kernel, strides, valid) + conv_step(layer.skip, x, (1, 1), strides, valid=valid)


# Attention


def timing(length, channels):
    signal = np.zeros((length, channels))
    for t in range(length):
        for i in range(channels // 2):
            delta = 10000.0 ** (-2.0 * i / channels)
            signal[t, 2 * i], signal[t, 2 * i + 1] = math.sin(t * delta), math.cos(t * delta)
    return signal


def multi_head_attention(layer, x, memory, heads, allowed):
    """(B, T, D), (B, S, D), allowed (B, T, S) -> (B, T, D)."""
    queries, keys, values = x @ array(layer.query), memory @ array(layer.key), memory @ array(layer.value)
    size = x.shape[-1] // heads
    mixed = np.zeros(x.shape)
    for b, t, h in np.ndindex(*x.shape[:2], heads):
        part = slice(h * size, (h + 1) * size)
        attended = np.flatnonzero(allowed[b, t])
        weights = softmax(keys[b, attended, part] @ queries[b, t, part] / math.sqrt(size))
        mixed[b, t, part] = weights @ values[b, attended, part]
    return mixed @ array(layer.out)


def attention_block(layer, target, source, valid, heads, use_attention=True):
    x = target + timing(target.shape[1], target.shape[2])
    for block in layer.conv_blocks:
        x = conv_block(block, x, causal=True)
    if not use_attention:
        means = np.stack([s[v].mean(axis=0) for s, v in zip(source, valid, strict=True)])
        return x + (means @ array(layer.pooled))[:, None]
    batch, length, _ = x.shape
    normed = layer_norm(layer.self_norm, x)
    causal = np.broadcast_to(np.tril(np.ones((length, length), bool)), (batch, length, length))
    x = x + multi_head_attention(layer.self_attention, normed, normed, heads, causal)
    to_source = np.broadcast_to(valid[:, None, :], (batch, length, valid.shape[1]))
    normed = layer_norm(layer.source_norm, x)
    return x + multi_head_attention(layer.source_attention, normed, source, heads, to_source)


# Mixture of experts


def squared_variation(x):
    return (np.std(x) / np.mean(x)) ** 2


def normal_cdf(x):
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))


def mixture_of_experts(layer, x, k, valid=None, normal=None):
    """Noisy top-k gating (Shazeer et al. 2017, section 3 and appendix A) and the experts, position by position.

    x (N, D), valid (N,), normal (N, E) drawn from a standard normal, or None outside training
    -> y (N, D), importance (E,), load (E,) or None without noise.
    """
    gate, spread = array(layer.gate), array(layer.noise_scale)
    expand, contract = array(layer.expand), array(layer.contract)
    experts = gate.shape[1]
    y, importance, load = np.zeros(x.shape), np.zeros(experts), np.zeros(experts)
    for n in range(len(x)):
        if valid is not None and not valid[n]:
            continue
        clean = x[n] @ gate
        scores = clean
        if normal is not None:
            deviation = np.log1p(np.exp(x[n] @ spread)) + 1e-2
            scores = clean + normal[n] * deviation
            for i in range(experts):
                others = sorted(np.delete(scores, i), reverse=True)
                load[i] += normal_cdf((clean[i] - others[k - 1]) / deviation[i]) if k < experts else 1.0
        chosen = np.argsort(-scores)[:k]
        gates = softmax(scores[chosen])
        for expert, weight in zip(chosen, gates, strict=True):
            y[n] += weight * (relu(x[n] @ expand[expert]) @ contract[expert])
            importance[expert] += weight
    return y, importance, load if normal is not None else None


def experts_block(layer, x, k, valid=None):
    """`x + MixtureOfExperts(LN(x))`; returns it and the balancing loss."""
    flat = layer_norm(layer.norm, x).reshape(-1, x.shape[-1])
    y, importance, _ = mixture_of_experts(layer.experts, flat, k, None if valid is None else valid.reshape(-1))
    return x + y.reshape(x.shape), squared_variation(importance)


# Body


def encoder(layer, x, valid, hparams):
    x, balance = x + timing(*x.shape[1:]), 0.0
    for i, block in enumerate(layer.blocks):
        if hparams.use_experts and i == hparams.encoder_blocks // 2:
            x, balance = experts_block(layer.experts, x, hparams.experts_per_position, valid)
        x = conv_block(block, x, valid=valid)
    return x, balance


def mixer(layer, x, encoded, valid, hparams):
    x = attention_block(layer.attention, x, encoded, valid, hparams.num_heads, hparams.use_attention)
    for block in layer.blocks:
        x = conv_block(block, x, causal=True)
    return x


def decoder(layer, x, encoded, valid, hparams, target_valid=None):
    balance = 0.0
    for i, (block, attention) in enumerate(zip(layer.blocks, layer.attentions, strict=True)):
        if hparams.use_experts and i == hparams.decoder_blocks // 2:
            x, balance = experts_block(layer.experts, x, hparams.experts_per_position, target_valid)
        x = conv_block(block, x, causal=True)
        x = attention_block(attention, x, encoded, valid, hparams.num_heads, hparams.use_attention)
    return (layer_norm(layer.norm, x) if hparams.final_norm else x), balance


def decode(body, targets, encoded, valid, command, hparams, target_valid=None):
    """Mixer and decoder: position t depends on the command and the targets before t."""
    x = np.stack([np.vstack([c, t[:-1]]) for c, t in zip(command, targets, strict=True)])
    x = mixer(body.mixer, x, encoded, valid, hparams)
    return decoder(body.decoder, x, encoded, valid, hparams, target_valid)


# Transformer (Vaswani et al. 2017, section 3), with each layer norm on the input of its sub-layer


def feed_forward(layer, x):
    hidden = relu(x @ array(layer.expand) + array(layer.expand_bias))
    return hidden @ array(layer.contract) + array(layer.contract_bias)


def transformer_encoder(layer, x, valid, heads):
    x = x + timing(*x.shape[1:])
    allowed = np.repeat(valid[:, None], x.shape[1], axis=1)
    for block in layer.blocks:
        normed = layer_norm(block.self_norm, x)
        x = x + multi_head_attention(block.self_attention, normed, normed, heads, allowed)
        x = x + feed_forward(block.feed_forward, layer_norm(block.feed_norm, x))
    return layer_norm(layer.norm, x)


def transformer_decode(body, targets, encoded, valid, command, heads):
    x = np.stack([np.vstack([c, t[:-1]]) for c, t in zip(command, targets, strict=True)])
    x = x + timing(*x.shape[1:])
    length = x.shape[1]
    past = np.broadcast_to(np.tril(np.ones((length, length), bool)), (len(x), length, length))
    to_source = np.repeat(valid[:, None], length, axis=1)
    for block in body.decoder.blocks:
        normed = layer_norm(block.self_norm, x)
        x = x + multi_head_attention(block.self_attention, normed, normed, heads, past)
        x = x + multi_head_attention(
            block.source_attention, layer_norm(block.source_norm, x), encoded, heads, to_source
        )
        x = x + feed_forward(block.feed_forward, layer_norm(block.feed_norm, x))
    return layer_norm(body.decoder.norm, x)


# Modality nets


def image(net, pictures, strides, patches=False):
    """strides: how many of the four stride-2 steps are kept; patches: the first stacks 2x2 pixels as channels."""
    steps = [(2, 2)] * strides + [(1, 1)] * (4 - strides)
    x = np.concatenate([pictures, 1.0 - pictures], axis=-1)
    if patches:
        x = np.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)])
        x = np.concatenate([x[:, i::2, j::2] for i in range(2) for j in range(2)], axis=-1)
    x = conv_step(net.step1, x, (3, 3), (1, 1) if patches else steps[0])
    x = conv_step(net.step2, x, (3, 3))
    for block, stride in zip((net.res1, net.res2, net.res3), steps[1:], strict=True):
        x = conv_res(block, x, (3, 3), stride)
    return x.reshape(len(x), -1, x.shape[-1]), x.shape[1:3]


def audio(net, x, length, kernel):
    """x (B, time, frequencies, 2), lengths (B,) -> (B, S, D), and the lengths after the blocks."""
    for block in net.blocks:
        valid = np.arange(x.shape[1])[None] < length[:, None]
        x = conv_res(block, x, kernel, (2, 1), valid)
        length = np.ceil(length / 2)
    x = x.reshape(*x.shape[:2], -1)
    return x @ array(net.last_map), length.astype(int)


def log_mel(samples, sample_rate, hop, window, fft, mels, lowest=60.0):
    """Samples (N,) -> log(1 + 30 mel energy) (ceil(N / hop), mels): Hann windows, triangular mel filters."""

    def mel(frequency):
        return 1127.0 * math.log(1.0 + frequency / 700.0)

    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    frames = math.ceil(len(samples) / hop)
    padded = np.concatenate([samples, np.zeros(window + hop)])
    spectrum = np.abs([np.fft.rfft(padded[f * hop : f * hop + window] * hann, fft) for f in range(frames)])
    edges = np.linspace(mel(lowest), mel(sample_rate / 2), mels + 2)
    weights = np.zeros((fft // 2 + 1, mels))
    for bin_ in range(1, fft // 2 + 1):
        at = mel(bin_ * sample_rate / fft)
        for m in range(mels):
            rise = (at - edges[m]) / (edges[m + 1] - edges[m])
            fall = (edges[m + 2] - at) / (edges[m + 2] - edges[m + 1])
            weights[bin_, m] = max(0.0, min(rise, fall))
    return np.log(1.0 + 30.0 * (spectrum @ weights))


def categorical(net, x, valid):
    """(B, rows, columns, D), valid (B, rows) -> logits (B, V)."""
    skip = conv_step(net.skip, x, (3, 3), (2, 2), valid=valid)
    hidden1 = conv_step(net.step1, x, (3, 3), valid=valid)
    hidden2 = conv_step(net.step2, hidden1, (3, 3), valid=valid)
    hidden3 = skip + max_pool(hidden2, (3, 3), (2, 2), valid)
    valid = valid[:, ::2]
    hidden4 = conv_step(net.step4, hidden3, (3, 3), valid=valid)
    hidden5 = conv_step(net.step5, hidden4, (3, 3), valid=valid)
    pooled = np.stack([relu(h[v]).mean(axis=(0, 1)) for h, v in zip(hidden5, valid, strict=True)])
    return pooled @ array(net.softmax)


# Training


def clipped(gradients, clip_norm):
    """A step's gradients, of which some may be None, clipped by their global norm."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients if g is not None))
    scale = clip_norm / norm if clip_norm and norm > clip_norm else 1.0
    return [None if g is None else g * scale for g in gradients]


def adam(weights, gradients, rates, beta1, beta2, epsilon, clip_norm=0.0, weight_decay=0.0):
    """AdamW (Loshchilov & Hutter 2017, algorithm 2); without weight decay Adam (Kingma & Ba 2015, algorithm 1).

    weights: list of arrays; gradients: for each step a list of arrays or None. None leaves the weight, its moments and
    its count for bias correction unchanged. Arrays of one dimension do not decay.
    """
    weights = [np.array(w, np.float64) for w in weights]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    count = [0] * len(weights)
    for step_gradients, rate in zip(gradients, rates, strict=True):
        for i, gradient in enumerate(clipped(step_gradients, clip_norm)):
            if gradient is None:
                continue
            count[i] += 1
            first[i] = beta1 * first[i] + (1.0 - beta1) * gradient
            second[i] = beta2 * second[i] + (1.0 - beta2) * gradient**2
            unbiased = first[i] / (1.0 - beta1 ** count[i]), second[i] / (1.0 - beta2 ** count[i])
            decay = weight_decay * weights[i] if weights[i].ndim > 1 else 0.0
            weights[i] = weights[i] - rate * (unbiased[0] / (np.sqrt(unbiased[1]) + epsilon) + decay)
    return weights, first, second


def adafactor(weights, gradients, rates, clip_norm=0.0, weight_decay=0.0):
    """Adafactor (Shazeer & Stern 2018, algorithm 4 for matrices, 5 for vectors) with the paper's constants.

    weights, gradients: as for `adam`; of arrays with three or more dimensions, the last two are factored.
    """

    def root_mean_square(x):
        return math.sqrt((x**2).mean())

    weights = [np.array(w, np.float64) for w in weights]
    moments, count = [None] * len(weights), [0] * len(weights)
    for step_gradients, rate in zip(gradients, rates, strict=True):
        for i, gradient in enumerate(clipped(step_gradients, clip_norm)):
            if gradient is None:
                continue
            count[i] += 1
            if weights[i].ndim > 1:
                weights[i] = weights[i] * (1.0 - rate * weight_decay)
            beta2 = 1.0 - count[i] ** -0.8
            squares = gradient**2 + 1e-30
            new = squares if squares.ndim == 1 else (squares.sum(-1), squares.sum(-2))
            if count[i] == 1:
                moments[i] = new
            elif squares.ndim == 1:
                moments[i] = beta2 * moments[i] + (1.0 - beta2) * new
            else:
                moments[i] = tuple(beta2 * m + (1.0 - beta2) * n for m, n in zip(moments[i], new, strict=True))
            second = moments[i]
            if squares.ndim > 1:
                rows, columns = second
                second = rows[..., None] * columns[..., None, :] / rows.sum(-1)[..., None, None]
            update = gradient / np.sqrt(second)
            update = update / max(1.0, root_mean_square(update))
            weights[i] = weights[i] - max(1e-3, root_mean_square(weights[i])) * rate * update
    return weights


def moving_average(history, decay):
    """The moving average of a weight with these values after each step; the first is the initial value of both."""
    average = np.array(history[0], np.float64)
    for n, value in enumerate(history[1:]):
        step_decay = min(decay, (1.0 + n) / (10.0 + n))
        average = step_decay * average + (1.0 - step_decay) * value
    return average


# Metrics


def dense_cider_d(answers, references):
    """CIDEr-D on dense vectors, with a column for each n-gram of the corpus."""

    def grams(text, n):
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    def counts(text, n, columns):
        return np.array([grams(text, n).count(column) for column in columns], float)

    captions = [caption for group in references for caption in group]
    totals = np.zeros((len(answers), 4))
    for n in range(1, 5):
        columns = sorted({gram for text in (*answers, *captions) for gram in grams(text, n)})
        having = sum(np.max([counts(caption, n, columns) for caption in group], axis=0) > 0 for group in references)
        idf = np.log(len(references) / np.maximum(having, 1))
        for i, answer in enumerate(answers):
            ours = counts(answer, n, columns) * idf
            for caption in references[i]:
                theirs = counts(caption, n, columns) * idf
                gauss = np.exp(-((len(answer.split()) - len(caption.split())) ** 2) / 72)
                size = np.linalg.norm(ours) * np.linalg.norm(theirs)
                cosine = np.minimum(ours, theirs) @ theirs / size if size else 0
                totals[i, n - 1] += gauss * cosine / len(references[i])
    return list(10 * totals.mean(axis=1))
