"""SpecAugment: equation, where masks lie, noise by example whatever the shard, only in training."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import SMALL, batch_of, close, eagerly, floats, normal, problem, randomize

from t2t_lite.data.batch_shards import shard_batch
from t2t_lite.layers.noise import example_numbers, step_seed
from t2t_lite.layers.spec_augment import SpecMasks, mask_spectrogram
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Audio, Label

LENGTH = np.array([40, 23, 4])
MASKS = SpecMasks(2, 6, 1, 4)


def spectrogram():
    """(3, 40, 9), 0 at padding."""
    return np.abs(normal(3, 40, 9)) * (np.arange(40)[None] < LENGTH[:, None])[:, :, None]


def masked(x, numbers, masks=MASKS):
    return mask_spectrogram(floats(x), tf.constant(LENGTH), floats(numbers), masks).numpy()


@pytest.mark.parametrize("masks", [MASKS, SpecMasks(3, 100, 0, 0), SpecMasks(0, 0, 2, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_masks_equal_numpy(masks, seed):
    x, numbers = spectrogram(), np.random.default_rng(seed).random((3, masks.numbers), np.float32)
    pairs = numbers.astype(float).reshape(3, -1, 2)
    expected = reference.masked_spectrogram(x, LENGTH, pairs, masks.time_masks, masks.most_frames, masks.most_bins)
    close(masked(x, numbers, masks), expected, 1e-5)


def test_masks_lie_within_the_sound_and_are_no_larger_than_allowed():
    widths, starts = set(), set()
    for seed in range(30):
        numbers = np.random.default_rng(seed).random((3, 2), np.float32)
        changed = np.any(masked(spectrogram() + 1.0, numbers, SpecMasks(1, 6, 0, 0)) != floats(spectrogram() + 1.0), -1)
        for row, (length, most) in enumerate(zip(LENGTH, (6, 4, 0), strict=True)):
            at = np.flatnonzero(changed[row])
            assert len(at) <= most and (not len(at) or (at[-1] < length and at[-1] - at[0] == len(at) - 1))
            if row == 0:
                widths.add(len(at))
                starts |= set(at[:1])
    assert widths == set(range(7)) and len(starts) > 12 and max(starts) > 25


def test_numbers_near_one_keep_within_bounds():
    numbers = np.full((3, MASKS.numbers), np.nextafter(np.float32(1), np.float32(0)))
    x = spectrogram()
    pairs = numbers.astype(float).reshape(3, -1, 2)
    close(masked(x, numbers), reference.masked_spectrogram(x, LENGTH, pairs, 2, 6, 4), 1e-5)


def test_numbers_follow_from_seed_step_path_and_example_and_not_from_the_shard():
    index = tf.constant([7, 8, 7, 4093 + 8], tf.int64)

    def numbers(seed=3, step=5, shard=0, path="audio", index=index):
        return example_numbers(step_seed(seed, step, shard), seed, path, index, 6).numpy()

    first = numbers()
    assert first.shape == (4, 6) and np.array_equal(first[0], first[2]) and np.array_equal(first[1], first[3])
    assert np.array_equal(numbers(shard=2), first) and np.array_equal(numbers(index=index[::-1]), first[::-1])
    for other in (numbers(seed=4), numbers(step=6), numbers(path="other"), first[::-1]):
        assert np.abs(other - first).max(axis=1).min() > 0.01


SPECTRAL = SMALL.replace(audio_form="spectrogram", audio_blocks=1, dropout=0.0, use_experts=False, encoder_blocks=1)
MASKED = {
    "audio_time_masks": 2,
    "audio_time_mask_frames": 3,
    "audio_frequency_masks": 1,
    "audio_frequency_mask_bins": 3,
}


@pytest.fixture(scope="module")
def models():
    """The same weights, without and with masks."""
    problems = {"commands": problem("commands", Audio(1000), Label(("go", "stop")))}
    return [randomize(MultiModel(SPECTRAL.replace(**more), problems, {})) for more in ({}, MASKED)]


BATCH = batch_of(problem("x", Audio(1000), Label(("go", "stop"))), rows=5, source=20)
BATCH["inputs"] *= 0.02  # a loud sound is the same at any volume to the first layer norm
BATCH["index"] = tf.constant([11, 5, 6, 90, 3], tf.int64)


def encode(model, noise=None, batch=BATCH):
    """The encoded positions that are not padding, one list for each example."""
    with eagerly():
        encoded, _ = model.encode("commands", batch, noise)
    return [x[valid] for x, valid in zip(encoded.x.numpy(), encoded.valid.numpy(), strict=True)]


def differ(first, second):
    return [x.shape == y.shape and np.abs(x - y).max() > 0.01 for x, y in zip(first, second, strict=True)]


def test_only_training_masks(models):
    plain, with_masks = models
    assert not any(differ(encode(with_masks), encode(plain)))
    assert not any(differ(encode(plain, step_seed(0, 1)), encode(plain)))
    first, again, next_step = (encode(with_masks, step_seed(0, step)) for step in (1, 1, 2))
    assert not any(differ(first, again))
    # The masks of an example may all have width 0.
    assert all(differ(first, next_step)) and sum(differ(first, encode(plain))) >= 4


@pytest.mark.parametrize("shards", [2, 3])
def test_replicas_mask_an_example_as_one_does(models, shards):
    whole = encode(models[1], step_seed(0, 4))
    parts = [encode(models[1], step_seed(0, 4, i), shard_batch(BATCH, i, shards)) for i in range(shards)]
    for x, expected in zip([x for part in parts for x in part], whole, strict=False):
        close(x, expected)


def test_batches_of_all_sizes_share_a_trace(models):
    for rows in (2, 3):  # without numbers of examples
        model, batch = models[1], {key: x[:rows] for key, x in BATCH.items() if key != "index"}
        model._embed_inputs("commands", batch, step_seed(0, 1))
    assert model._traced["audio_1000.embed_noisy"].experimental_get_tracing_count() == 1
