"""The cuts of sampling at their borders, and its defaults."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from t2t_lite.decoding.beam_search import BeamDecoder
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.sampling import SamplingDecoder, sample_tokens


def drawn(chances, **cut):
    """How often each token is drawn over an even grid of numbers in [0, 1)."""
    uniform = tf.constant((np.arange(1000) + 0.5) / 1000, tf.float32)
    rows = tf.tile(tf.math.log(tf.constant([chances], tf.float32)), [1000, 1])
    return (np.bincount(sample_tokens(rows, uniform, **cut), minlength=len(chances)) / 1000).tolist()


def test_top_p_takes_no_token_more_than_it_needs():
    even = [0.25] * 4
    assert drawn(even) == drawn(even, top_p=1.0) == even
    assert drawn(even, top_p=0.49) == [0.5, 0.5, 0, 0]
    assert drawn(even, top_p=0.51) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-3)


def test_the_first_and_the_last_of_all_numbers():
    likelihoods = tf.math.log(tf.constant([[0.25, 0.5, 0.25]]))
    for number, token in ((0.0, 1), (0.5, 0), (0.75, 2), (float(np.nextafter(np.float32(1), np.float32(0))), 2)):
        assert sample_tokens(likelihoods, tf.constant([number])).numpy().tolist() == [token]
    # A number of 1 would be past all of them; the last token is drawn, never one that was cut.
    assert sample_tokens(likelihoods, tf.constant([1.0])).numpy().tolist() == [2]
    assert sample_tokens(likelihoods, tf.constant([1.0]), top_p=0.5).numpy().tolist() == [1]


def test_more_tokens_than_there_are_is_all_of_them():
    assert drawn([0.5, 0.5], top_k=9) == [0.5, 0.5]
    assert drawn([0.125, 0.5, 0.375], top_k=1) == [0, 1, 0]


def test_by_default_tokens_are_drawn_as_likely_as_they_are():
    chances = [0.5, 0.125, 0.25, 0.125]
    assert drawn(chances) == drawn(chances, temperature=1.0, top_k=0, top_p=1.0) == chances


@pytest.mark.parametrize(
    "function,names",
    [
        (SamplingDecoder, ("temperature", "top_k", "top_p", "seed")),
        (sample_tokens, ("temperature", "top_k", "top_p")),
        (BeamDecoder, ("alpha",)),
    ],
)
def test_defaults_are_those_of_the_hparams(function, names):
    parameters = inspect.signature(function).parameters
    assert [parameters[name].default for name in names] == [getattr(DecodeHParams(), name) for name in names]
    if "answers" in parameters:
        assert parameters["answers"].default == DecodeHParams().return_beams
