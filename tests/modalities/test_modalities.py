"""The modality nets against the paper's equations."""

import dataclasses
import random

import numpy as np
import pytest
import reference
import tensorflow as tf
from checks import SMALL, check_layer, close, floats, lengths_mask, normal, randomize

from t2t_lite.errors import UserError
from t2t_lite.modalities import audio, categorical, image, language
from t2t_lite.modalities.modality import cross_entropy
from t2t_lite.problems import Audio, Image, Label, Text

IDS = tf.constant([[5, 3, 1, 0], [7, 7, 29, 1]])
CLASSES = ("cat", "dog", "sun")


def language_net(hparams=SMALL):
    return randomize(language.Language(Text("words"), hparams, 30, name="language_words"))


def image_net(hparams=SMALL):
    return randomize(image.Image(Image(), hparams, name="image"))


def audio_net(hparams=SMALL):
    return randomize(audio.Audio(Audio(1000), hparams, name="audio_1000"))


def categorical_net(hparams=SMALL):
    return randomize(categorical.Categorical(Label(CLASSES), hparams, name="categorical"))


# Language


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_language_equals_numpy(share, scale):
    net = language_net(SMALL.replace(share_embeddings=share, scale_embeddings=scale))
    matrix = reference.array(net.embedding)
    embedded = net.embed_inputs(IDS)
    close(embedded.x, matrix[IDS.numpy()] * (4.0 if scale else 1.0), 1e-5)  # 4 = sqrt(D)
    close(net.embed_targets(IDS), embedded.x)
    assert embedded.valid.numpy().tolist() == [[True, True, True, False], [True] * 4]
    assert embedded.grid.numpy().tolist() == [4, 1]
    x = normal(2, 3, 16)
    close(net.logits(floats(x)), x @ (matrix.T if share else reference.array(net.softmax)))
    assert len(net.weights) == (1 if share else 2)
    assert net.target_weights(IDS).numpy().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_embedding_and_softmax_are_initialized_differently():
    net = language.Language(Text("words"), SMALL, 30, name="language")
    embedding, softmax = (np.asarray(w).ravel() for w in (net.embedding, net.softmax))
    assert abs(np.corrcoef(embedding, softmax)[0, 1]) < 0.3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_numpy(smoothing):
    logits, targets = normal(2, 3, 5), np.array([[0, 4, 2], [1, 1, 3]])
    expected = np.zeros((2, 3))
    for at in np.ndindex(2, 3):
        wanted = np.full(5, smoothing / 5)
        wanted[targets[at]] += 1.0 - smoothing
        expected[at] = -np.sum(wanted * np.log(reference.softmax(logits[at])))
    close(cross_entropy(floats(logits), tf.constant(targets), smoothing), expected, 1e-5)


# Images


@pytest.mark.parametrize("strides", [0, 1, 2, 3, 4])
def test_image_equals_numpy(strides):
    net, pictures = image_net(SMALL.replace(image_strides=strides)), normal(2, 9, 6, 3)
    embedded = net.embed_inputs(floats(pictures))
    expected, grid = reference.image(net, pictures, strides)
    close(embedded.x, expected, 1e-3)
    assert tuple(embedded.grid) == grid
    assert embedded.valid.shape == expected.shape[:2] and np.all(embedded.valid)


def test_four_strides_make_an_image_16_times_smaller_on_each_side():
    embedded = image_net(SMALL.replace(image_strides=4)).embed_inputs(tf.zeros([1, 64, 48, 3]))
    assert embedded.grid.numpy().tolist() == [4, 3]


def test_image_patches_equal_numpy():
    net, pictures = image_net(SMALL.replace(image_strides=3, image_patches=True)), normal(2, 9, 6, 3)
    embedded = net.embed_inputs(floats(pictures))
    expected, grid = reference.image(net, pictures, 3, patches=True)
    close(embedded.x, expected)
    assert tuple(embedded.grid.numpy()) == tuple(grid) == (2, 1)


def test_new_image_net_separates_images():
    """Much of an untrained net's output must vary between images, or classification stays at chance for long."""
    random.seed(0)  # Keras's initializers draw their seeds from here
    net = image.Image(Image(), SMALL.replace(image_width=16, image_strides=3), name="image")
    colours = np.random.default_rng(0).random((32, 1, 1, 3), np.float32)
    embedded = net.embed_inputs(floats(np.tile(colours, (1, 16, 16, 1)))).x.numpy()[:, 0]
    variance = np.square(embedded - embedded.mean(0)).mean()
    assert variance > 0.3 * np.square(embedded).mean()


def test_image_strides_out_of_range():
    with pytest.raises(UserError, match="image_strides"):
        image_net(SMALL.replace(image_strides=5))


# Audio


@pytest.mark.parametrize("samples", [1, 31, 40])
def test_waveform_equals_numpy(samples):
    net, waves = audio_net(), normal(3, samples, seed=2)
    length = np.array([samples, (samples + 1) // 2, 1])
    embedded = net.embed_inputs(floats(waves), tf.constant(length))
    expected, lengths = reference.audio(net, np.stack([waves, -waves], axis=-1)[:, :, None], length, (3, 1))
    valid = lengths_mask(lengths, expected.shape[1])
    assert embedded.valid.numpy().tolist() == valid.tolist()
    close(embedded.x[valid], expected[valid], 1e-3)
    assert embedded.grid.numpy().tolist() == [-(-samples // 8), 1]


def test_spectrogram_equals_numpy():
    net, waves = audio_net(SMALL.replace(audio_form="spectrogram")), 0.3 * normal(2, 205)
    length = np.array([205, 83])
    # At 1,000 samples per second: a frame every 10 samples, windows of 25, FFTs of 32.
    frames = np.zeros((2, 21, 5, 2))
    for row in range(2):
        mel = reference.log_mel(waves[row, : length[row]], 1000, 10, 25, 32, 5)
        frames[row, : len(mel)] = np.stack([mel, 6.0 - mel], axis=-1)  # with the distance from a loud sound
    embedded = net.embed_inputs(floats(waves), tf.constant(length))
    expected, lengths = reference.audio(net, frames, np.array([21, 9]), (3, 3))
    valid = lengths_mask(lengths, expected.shape[1])
    assert embedded.valid.numpy().tolist() == valid.tolist()
    close(embedded.x[valid], expected[valid], 1e-3)


@pytest.mark.parametrize("form", ["waveform", "spectrogram"])
def test_padding_does_not_change_audio(form):
    net, wave = audio_net(SMALL.replace(audio_form=form)), 0.3 * normal(1, 90)
    single = net.embed_inputs(floats(wave)).x
    batch = np.concatenate([np.pad(wave, [[0, 0], [0, 57]], constant_values=0.7), normal(1, 147)])
    embedded = net.embed_inputs(floats(batch), tf.constant([90, 147]))
    assert int(tf.reduce_sum(tf.cast(embedded.valid[0], tf.int32))) == single.shape[1]
    close(embedded.x[:1, : single.shape[1]], single)


# Classes


@pytest.mark.parametrize("size", [(1, 1), (9, 1), (4, 5)])
def test_categorical_equals_numpy(size):
    net, x = categorical_net(), normal(3, *size, 16)
    valid = lengths_mask([size[0], (size[0] + 1) // 2, 1], size[0])
    flat_valid = np.repeat(valid[:, :, None], size[1], axis=2).reshape(3, -1)
    logits = net.classify(floats(x.reshape(3, -1, 16)), tf.constant(flat_valid), tf.constant(size))
    close(logits, reference.categorical(net, x, valid), 1e-3)


def test_padding_does_not_change_class_logits():
    net, x = categorical_net(), normal(1, 9, 16)
    single = net.classify(floats(x), tf.ones([1, 9], tf.bool), tf.constant([9, 1]))
    longer = np.concatenate([x, 30 * normal(1, 6, 16, seed=1)], axis=1)
    valid = tf.constant(lengths_mask([9], 15))
    close(net.classify(floats(longer), valid, tf.constant([15, 1])), single)


# All modalities


def test_net_names():
    assert language.Language.net_name(Text("a", 8192, 10)) == language.Language.net_name(Text("a", 8192, 99))
    assert language.Language.net_name(Text("a")) != language.Language.net_name(Text("b"))
    assert image.Image.net_name(Image(32, 32)) == image.Image.net_name(Image(48, 64))
    assert audio.Audio.net_name(Audio(16000, 5.0)) == audio.Audio.net_name(Audio(16000, 9.0))
    assert audio.Audio.net_name(Audio(16000)) != audio.Audio.net_name(Audio(8000))
    assert categorical.Categorical.net_name(Label(("a", "b"))) != categorical.Categorical.net_name(Label(("a", "c")))


def test_unsupported_direction_raises():
    with pytest.raises(UserError, match="'image' cannot be an output"):
        image_net().logits(tf.zeros([1, 1, 16]))
    with pytest.raises(UserError, match="'categorical' cannot be an input"):
        categorical_net().embed_inputs(tf.zeros([1, 1]))
    with pytest.raises(UserError, match="'audio' cannot be decoded"):
        audio_net().embed_targets(tf.zeros([1, 1]))


def classify(net, dtype):
    return net.classify(tf.cast(normal(2, 12, 16), dtype), tf.ones([2, 12], tf.bool), tf.constant([4, 3]))


SPECTRAL = dataclasses.replace(SMALL, audio_form="spectrogram")
SHARED = dataclasses.replace(SMALL, share_embeddings=True)


@pytest.mark.parametrize(
    "make,call,shape",
    [
        (lambda: language_net(SHARED), lambda net, _: net.embed_inputs(IDS).x, (2, 4, 16)),
        (lambda: language_net(SHARED), lambda net, dtype: net.logits(tf.cast(normal(2, 4, 16), dtype)), (2, 4, 30)),
        (image_net, lambda net, _: net.embed_inputs(floats(normal(2, 8, 8, 3))).x, (2, 4, 16)),
        (audio_net, lambda net, _: net.embed_inputs(floats(normal(2, 60)), tf.constant([60, 33])).x, (2, 8, 16)),
        (lambda: audio_net(SPECTRAL), lambda net, _: net.embed_inputs(floats(normal(2, 100))).x, (2, 2, 16)),
        (categorical_net, classify, (2, 3)),
    ],
)
def test_layer(make, call, shape, tmp_path):
    check_layer(make, call, shape, tmp_path)
