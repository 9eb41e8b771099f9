"""Audio input (paper, section 2.5.4)."""

from typing import Any

import tensorflow as tf

from t2t_lite import registry
from t2t_lite.hparams import HParams
from t2t_lite.layers.convolution import ConvRes
from t2t_lite.layers.spec_augment import SpecMasks, mask_spectrogram
from t2t_lite.modalities.modality import Embedded, Modality
from t2t_lite.problems import features

_LOUDEST = 6.0  # the log-mel value of a loud sound


@registry.modalities.register
class Audio(Modality):
    """Audio input, as waveform or spectrogram: a stack of ConvRes blocks, block i with 2^i filters (section 2.5.4).

    Each block halves time; the spectral net does not stride over frequency. Hparams: `audio_blocks` is 8 in the paper;
    `audio_width` is the number of filters of block 1.

    The two input channels are the waveform and its negative, or the log-mel spectrogram and its distance from a loud
    one: the layer norm over channels keeps only the ratios between channels, and of a single channel only the sign.

    In training, the hparams `audio_time_masks` and `audio_frequency_masks` mask the spectrogram (SpecAugment).
    """

    def __init__(self, feature: features.Feature, hparams: HParams, vocab_size: int = 0, **kwargs: Any):
        super().__init__(feature, hparams, vocab_size, **kwargs)
        assert isinstance(feature, features.Audio)
        self.sample_rate = feature.sample_rate
        self.spectral = hparams.audio_form == "spectrogram"
        self.masks = SpecMasks(
            hparams.audio_time_masks,
            hparams.audio_time_mask_frames,
            hparams.audio_frequency_masks,
            hparams.audio_frequency_mask_bins,
        )
        self.noise_numbers = self.masks.numbers
        kernel = (3, 3) if self.spectral else (3, 1)
        blocks, channels = [], 2
        for i in range(hparams.audio_blocks):
            filters = hparams.audio_width * 2**i
            blocks.append(ConvRes(channels, filters, kernel, (2, 1), name=f"{self.name}.res{i + 1}"))
            channels = filters
        self.blocks = tuple(blocks)  # tf.train.Checkpoint does not track lists inside Keras layers
        last = channels * (hparams.audio_mels if self.spectral else 1)
        self.last_map = self.add_weight(name="map", shape=(last, hparams.hidden_size), initializer="glorot_uniform")

    @classmethod
    def net_name(cls, feature: features.Feature) -> str:
        """One net per sample rate: a filter responds to another pitch at another rate."""
        assert isinstance(feature, features.Audio)
        return f"audio_{feature.sample_rate}"

    def embed_inputs(self, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """Waveforms (B, samples) in [-1, 1], lengths in samples (B,) -> x (B, S, D), S being time after the blocks."""
        return self._embed(inputs, length)

    def embed_noisy(self, numbers: tf.Tensor, inputs: tf.Tensor, length: tf.Tensor | None = None) -> Embedded:
        """As `embed_inputs`, of masked spectrograms; see `mask_spectrogram` for the numbers."""
        return self._embed(inputs, length, numbers)

    def _embed(self, inputs: tf.Tensor, length: tf.Tensor | None, numbers: tf.Tensor | None = None) -> Embedded:
        if length is None:
            length = tf.fill([tf.shape(inputs)[0]], tf.shape(inputs)[1])
        length = tf.cast(length, tf.int64)  # TensorFlow would compute with int32 on the host
        if self.spectral:
            x, length = self._spectrogram(inputs, length)
            if numbers is not None:
                x = mask_spectrogram(x, length, numbers, self.masks)
            x = tf.stack([x, _LOUDEST - x], axis=-1)
        else:
            x = tf.stack([inputs, -inputs], axis=-1)[:, :, None]
        # (B, time, frequencies or 1, 2); stop_gradient saves an unused gradient.
        x = tf.stop_gradient(tf.cast(x, self.compute_dtype))
        for block in self.blocks:
            x = block(x, valid=_mask(length, x))
            length = -(-length // 2)
        batch, time = tf.shape(x)[0], tf.shape(x)[1]
        x = tf.reshape(x, [batch, time, self.last_map.shape[0]])
        x = tf.einsum("btc,cd->btd", x, tf.cast(self.last_map, x.dtype))
        return Embedded(x, _mask(length, x), tf.stack([time, 1]))

    def _spectrogram(self, samples: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Waveforms (B, samples) -> log-mel frames (B, ceil(samples / hop), mels), all >= 0, and their numbers (B,)."""
        hop = round(self.sample_rate * self.hparams.audio_frame_ms / 1000)
        window = 2 * hop + hop // 2
        # The last frames of an example reach into its padding.
        samples = tf.where(_mask(length, samples), samples, 0.0)
        frames = tf.abs(tf.signal.stft(samples, window, hop, pad_end=True))
        mel = tf.signal.linear_to_mel_weight_matrix(
            self.hparams.audio_mels, frames.shape[-1], self.sample_rate, 60.0, self.sample_rate / 2
        )
        # log(1 + x) is never negative: a ConvStep starts with a ReLU.
        return tf.math.log1p(30.0 * tf.einsum("btf,fm->btm", frames, mel)), -(-length // hop)


def _mask(length: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Lengths int64 (B,), x (B, time, ...) -> (B, time), True up to each length."""
    steps = tf.shape(x)[1]
    with tf.device("CPU:0"):
        times = tf.cast(tf.range(steps), tf.int64)
    return times < length[:, None]
