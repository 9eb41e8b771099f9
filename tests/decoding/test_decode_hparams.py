"""The bounds and defaults of --decode_hparams."""

import pytest

from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.errors import UserError


def test_defaults_are_greedy_search():
    hparams = DecodeHParams.parse("")
    assert (hparams.beam_size, hparams.return_beams, hparams.sampling, hparams.alpha) == (1, 1, False, 0.6)
    assert (hparams.temperature, hparams.top_k, hparams.top_p, hparams.seed) == (1.0, 0, 1.0, 0)
    assert (hparams.batch_size, hparams.max_length) == (32, 0)


@pytest.mark.parametrize(
    "least,below",
    [
        ("beam_size=1", "beam_size=0"),
        ("alpha=0", "alpha=-0.01"),
        ("return_beams=1", "return_beams=0"),
        ("sampling=true,top_k=0", "sampling=true,top_k=-1"),
        ("batch_size=1", "batch_size=0"),
        ("max_length=0", "max_length=-1"),
        ("sampling=true,temperature=0.01", "sampling=true,temperature=0"),
        ("sampling=true,top_p=0.01", "sampling=true,top_p=0"),
        ("sampling=true,top_p=1", "sampling=true,top_p=1.01"),
        (f"sampling=true,seed={2**63 - 1}", f"sampling=true,seed={2**63}"),
        (f"sampling=true,seed={-(2**63)}", f"sampling=true,seed={-(2**63) - 1}"),
    ],
)
def test_bounds(least, below):
    DecodeHParams.parse(least)
    with pytest.raises(UserError):
        DecodeHParams.parse(below)


@pytest.mark.parametrize("text", ["temperature=0.5", "top_k=3", "top_p=0.5", "seed=1"])
def test_options_of_sampling_need_sampling(text):
    DecodeHParams.parse(f"sampling=true,{text}")
    with pytest.raises(UserError, match="is for sampling"):
        DecodeHParams.parse(text)


def test_a_default_may_be_written_out():
    assert DecodeHParams.parse("temperature=1,top_k=0,top_p=1,seed=0") == DecodeHParams()
    DecodeHParams.parse("beam_size=4,alpha=1")
    DecodeHParams.parse("sampling=true,beam_size=1")
    with pytest.raises(UserError):
        DecodeHParams.parse("sampling=true,beam_size=2")


def test_texts_need_as_many_beams_as_answers():
    for text in ("", "return_beams=2,beam_size=2", "return_beams=2,beam_size=3", "return_beams=2,sampling=true"):
        DecodeHParams.parse(text).check_beams()
    with pytest.raises(UserError):
        DecodeHParams.parse("return_beams=3,beam_size=2").check_beams()


def test_the_batch_size_changes_no_answer():
    one, other = (DecodeHParams.parse(text).changing_answers() for text in ("", "batch_size=7"))
    assert one == other and one["alpha"] == 0.6
    assert DecodeHParams.parse("max_length=7").changing_answers() != one
