"""SpecAugment: masks in time and frequency over a spectrogram (Park et al. 2019, "SpecAugment", section 2).

Their warping of time is left out: by their section 5 it contributes least and costs most.

Shapes: B batch, M mel bands.
"""

from typing import NamedTuple

import tensorflow as tf

_PART = 5  # a time mask covers at most 1 / 5 of an example: p = 0.2 of the paper's policies SM and SS


class SpecMasks(NamedTuple):
    """How many masks to draw for each example, and their largest size. 0 masks: none."""

    time_masks: int
    most_frames: int  # T of the paper
    frequency_masks: int
    most_bins: int  # F of the paper

    @property
    def numbers(self) -> int:
        """The random numbers that an example needs: width and start of each mask."""
        return 2 * (self.time_masks + self.frequency_masks)


def mask_spectrogram(x: tf.Tensor, length: tf.Tensor, numbers: tf.Tensor, masks: SpecMasks) -> tf.Tensor:
    """Replaces the masked frames and mel bands of each example by its mean.

    (The paper masks with 0 a spectrogram whose mean is 0.)

    A mask's width is uniform in 0 to its largest size, its start uniform among those where it fits.

    Args:
      x: (B, frames, M), 0 at padding.
      length: int64 (B,), the frames of each example.
      numbers: (B, masks.numbers), uniform in [0, 1): width and start of each time mask, then of each frequency mask.
      masks: how many, and how large.

    Returns:
      (B, frames, M).
    """
    frames, mels = tf.cast(length, tf.float32)[:, None], float(x.shape[-1])
    widest = tf.cast(tf.minimum(length // _PART, masks.most_frames), tf.float32)[:, None]
    pairs = tf.reshape(numbers, [-1, masks.numbers // 2, 2])
    in_time = _covered(pairs[:, : masks.time_masks], widest, frames, tf.shape(x)[1])
    in_frequency = _covered(pairs[:, masks.time_masks :], float(masks.most_bins), mels, x.shape[-1])
    mean = tf.reduce_sum(x, axis=[1, 2]) / (tf.maximum(frames[:, 0], 1.0) * mels)
    return tf.where(in_time[:, :, None] | in_frequency[:, None], mean[:, None, None], x)


def _covered(
    pairs: tf.Tensor, widest: tf.Tensor | float, size: tf.Tensor | float, positions: tf.Tensor | int
) -> tf.Tensor:
    """Numbers (B, masks, 2), sizes as (B, 1) or one number -> (B, positions), True where one of the masks lies."""
    width = tf.floor(pairs[:, :, 0] * (widest + 1.0))
    start = tf.floor(pairs[:, :, 1] * (size - width + 1.0))
    at = tf.range(tf.cast(positions, tf.float32))[None, None]
    return tf.reduce_any((at >= start[:, :, None]) & (at < (start + width)[:, :, None]), axis=1)
