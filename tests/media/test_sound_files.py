"""Sound files: limits on their rate and length, and WAV files of recorders that stream."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from t2t_lite.data.encoding import pcm16
from t2t_lite.errors import UserError
from t2t_lite.media import decode_inputs, limits
from t2t_lite.media.sound_files import read_sound


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_wav(content):
    return decode_inputs.decode_wav(content, 8000)


def wav(samples, rate=8000):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def read(content, path, rate=8000):
    path.write_bytes(content)
    return read_sound(path, rate)


class TestLimits:
    @pytest.mark.parametrize("rate", [0, 1, 1999, 400_001, 2**31 - 1])
    def test_rates_that_the_export_refuses_are_refused(self, rate, tmp_path):
        content = bytearray(wav(np.ones(100)))
        content[24:28] = struct.pack("<I", rate)
        with pytest.raises(UserError, match=r"a.wav: (a sample rate of [\d,]+ Hz; 2,000 to 400,000|not a readable)"):
            read(bytes(content), tmp_path / "a.wav")
        with pytest.raises(tf.errors.InvalidArgumentError, match="less than 2000"):
            decode_wav(bytes(content))

    @pytest.mark.parametrize("rate", [2000, 400_000])
    def test_the_outermost_rates_are_read(self, rate, tmp_path):
        content = wav(np.random.default_rng(0).integers(-9999, 9999, 4000), rate)
        expected = pcm16(read(content, tmp_path / "a.wav")) / 32768
        assert len(expected) == 4000 * 8000 // rate
        np.testing.assert_array_equal(decode_wav(content), expected)

    @pytest.mark.parametrize("kind", ["WAV", "FLAC"])
    def test_length_is_bounded_as_read_and_as_resampled(self, kind, tmp_path, monkeypatch):
        monkeypatch.setattr(limits, "MAX_SAMPLES", 20_000)
        path = tmp_path / "a.sound"
        soundfile.write(path, np.zeros((20_000, 2)), 8000, format=kind)
        assert len(read_sound(path, 8000)) == 20_000
        with pytest.raises(
            UserError, match=r"a.sound: too long; at most 20,000 samples are allowed, 0.0208 minutes at"
        ):
            read_sound(path, 16_000)
        soundfile.write(path, np.zeros(20_001), 8000, format=kind)
        with pytest.raises(UserError, match="too long"):
            read_sound(path, 4000)

    def test_length_is_bounded_in_the_graph(self, monkeypatch):
        monkeypatch.setattr(decode_inputs, "MAX_SAMPLES", 1000)
        decode = tf.function(lambda content: decode_inputs.decode_wav(content, 8000))
        assert decode(tf.constant(wav(np.zeros(1000)))).shape == (1000,)
        assert decode(tf.constant(wav(np.zeros(500), 4000))).shape == (1000,)
        for content in (wav(np.zeros(1001)), wav(np.zeros(501), 4000), wav(np.zeros(1001), 16_000)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="more than 1,000 samples"):
                decode(tf.constant(content))


class TestStreamed:
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
    @pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, None])
    def test_samples_behind_a_header_without_a_size_are_read(self, size, riff, tmp_path):
        samples = np.random.default_rng(0).integers(-9999, 9999, 301)
        content = bytearray(wav(samples))
        content[40:44] = struct.pack("<I", size)
        if riff is not None:
            content[4:8] = struct.pack("<I", riff)
        np.testing.assert_array_equal(read(bytes(content), tmp_path / "a.wav") * 32768, samples)
        np.testing.assert_array_equal(decode_wav(bytes(content)) * 32768, samples)

    @pytest.mark.parametrize("behind", [b"", b"LIST\4\0\0\0INFO", b"id3 \2\0\0\0ab"])
    def test_an_empty_sound_stays_empty(self, behind, tmp_path):
        content = wav(np.zeros(0)) + behind
        with pytest.raises(UserError, match=r"a.wav: a sound file without samples"):
            read(content, tmp_path / "a.wav")
        with pytest.raises(tf.errors.InvalidArgumentError, match="without samples"):
            decode_wav(content)
