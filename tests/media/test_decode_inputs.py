"""Decoding of raw inputs in the graph: the same pictures and sounds as Pillow and libsndfile read."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image as PilImage
from PIL import ImageOps

from t2t_lite.data.encoding import pcm16
from t2t_lite.errors import UserError
from t2t_lite.media import decode_inputs
from t2t_lite.media.picture_files import image_bytes, input_picture
from t2t_lite.media.sound_files import read_sound

decode_picture = tf.function(decode_inputs.decode_picture, input_signature=[tf.TensorSpec([], tf.string)])


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_wav(content):
    return decode_inputs.decode_wav(content, 8000)


def saved(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def noise(rows=7, columns=5, channels=4, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, channels)).astype(np.uint8)


def seen_by_pillow(content):
    """The picture as datagen stores it."""
    return np.asarray(PilImage.open(io.BytesIO(image_bytes(content))).convert("RGB"))


class TestPictures:
    @pytest.mark.parametrize(
        ("mode", "options"),
        [(mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")]
        + [("P", {"transparency": 3}), ("L", {"transparency": 3}), ("RGB", {"transparency": (1, 2, 3)})],
    )
    def test_any_png_is_rgb_on_white(self, mode, options):
        picture = PilImage.fromarray(noise()).convert(mode)
        if "transparency" in options and mode != "P":
            picture.putpixel((2, 2), options["transparency"])
        content = saved(picture, **options)
        np.testing.assert_array_equal(decode_picture(content), seen_by_pillow(content))

    def test_opacity_is_rounded_as_pillow_rounds(self):
        pixels = np.zeros((256, 256, 4), np.uint8)
        pixels[..., 0], pixels[..., 3] = np.arange(256)[:, None], np.arange(256)
        content = saved(PilImage.fromarray(pixels))
        np.testing.assert_array_equal(decode_picture(content), seen_by_pillow(content))

    def test_16_bits_a_pixel_lose_the_lower_eight(self):
        ramp = (np.arange(35).reshape(7, 5) * 1800).astype(np.uint16)
        expected = np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2)
        np.testing.assert_array_equal(decode_picture(saved(PilImage.fromarray(ramp))), expected)

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    def test_jpeg(self, mode):
        smooth = PilImage.linear_gradient("L").resize((40, 24)).convert(mode)
        content = saved(smooth, "JPEG", quality=95)
        np.testing.assert_allclose(decode_picture(content), np.asarray(smooth.convert("RGB")), atol=8)

    @pytest.mark.parametrize("orientation", [None, *range(1, 9), 0, 9])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_a_turned_photo_is_upright(self, orientation, order):
        corners = PilImage.new("RGB", (48, 32), "black")
        for colour, place in (("red", (0, 0)), ("lime", (24, 0)), ("blue", (0, 16))):
            corners.paste(colour, (*place, place[0] + 24, place[1] + 16))
        fields = [(0x010F, 1, 0)] * 3 + ([] if orientation is None else [(0x0112, 3, orientation)])
        mark = b"II*\0" if order == "<" else b"MM\0*"
        exif = b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, len(fields))
        exif += b"".join(struct.pack(f"{order}HHIHH", tag, kind, 1, value, 0) for tag, kind, value in fields)
        content = saved(corners, "JPEG", exif=exif + bytes(4), quality=95, subsampling=0)
        expected = np.asarray(ImageOps.exif_transpose(PilImage.open(io.BytesIO(content))))
        np.testing.assert_allclose(decode_picture(content), expected, atol=12)

    @pytest.mark.parametrize(
        "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\xff\xff\xff\xff"]
    )
    def test_damaged_exif_is_passed_over(self, exif):
        content = saved(PilImage.fromarray(noise(channels=3)), "JPEG", exif=exif)
        assert decode_picture(content).shape == (7, 5, 3)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not a PNG or JPEG picture"),
            (b"no picture", "not a PNG or JPEG picture"),
            (saved(PilImage.new("RGB", (4, 4)), "GIF"), "not a PNG or JPEG picture"),
            (saved(PilImage.new("RGB", (4, 4)))[:40], "PNG"),
            (saved(PilImage.new("RGB", (40, 40)), "JPEG")[:-80], "JPEG"),
            (b"\x89PNG\r\n\x1a\n", "pixels"),
            (b"\xff\xd8\xff", "JPEG"),
            # A header that promises 60,000 x 60,000 pixels.
            (
                saved(PilImage.new("1", (1, 1))).replace(struct.pack(">II", 1, 1), struct.pack(">II", 60000, 60000)),
                "33,554",
            ),
        ],
    )
    def test_others_are_refused_in_the_graph(self, content, message):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decode_picture(content)

    def test_input_picture_keeps_png_and_jpeg_and_converts_others_to_png(self, tmp_path, monkeypatch):
        picture = PilImage.fromarray(noise())
        for kind, content in (("PNG", saved(picture)), ("JPEG", saved(picture.convert("CMYK"), "JPEG"))):
            assert input_picture(content) == content, kind
        (tmp_path / "a.webp").write_bytes(saved(picture, "WEBP", lossless=True, exact=True))
        content = input_picture(tmp_path / "a.webp")
        np.testing.assert_array_equal(decode_picture(content), seen_by_pillow(saved(picture)))
        monkeypatch.setattr("t2t_lite.media.picture_files.MAX_PIXELS", 30)
        with pytest.raises(UserError, match=r"a.webp: 5 x 7 pixels, at most 30 are allowed"):
            input_picture(tmp_path / "a.webp")


def wav(samples, rate=8000):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return content.getvalue()


class TestSounds:
    @pytest.mark.parametrize("channels", [1, 2, 3, 6])
    @pytest.mark.parametrize("rate", [8000, 16000, 11025, 44100, 6000])
    def test_any_rate_and_channels_give_the_samples_of_read_sound(self, channels, rate, tmp_path):
        samples = np.random.default_rng(0).integers(-32768, 32768, (3001, channels)).astype(np.int16)
        (tmp_path / "a.wav").write_bytes(wav(samples, rate))
        expected = pcm16(read_sound(tmp_path / "a.wav", 8000)) / 32768
        np.testing.assert_array_equal(decode_wav(wav(samples, rate)), expected)

    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize("container", ["WAV", "WAVEX"])
    @pytest.mark.parametrize("width", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_any_sample_width_gives_the_samples_of_read_sound(self, width, container, channels, tmp_path):
        samples = np.random.default_rng(0).uniform(-1, 1, (999, channels))
        samples[:2] = [[-1.0], [1.0]]
        soundfile.write(tmp_path / "a.wav", samples, 8000, width, format=container)
        content = (tmp_path / "a.wav").read_bytes()
        expected = pcm16(read_sound(tmp_path / "a.wav", 8000)) / 32768
        np.testing.assert_array_equal(decode_wav(content), expected)
        # A recorder that streams claims the largest size; what is cut off within a sample loses that sample.
        place = content.index(b"data") + 4
        end = place + 4 + struct.unpack("<I", content[place : place + 4])[0]
        streamed = content[:place] + b"\xff\xff\xff\xff" + content[place + 4 : end - 1]
        np.testing.assert_array_equal(decode_wav(streamed), expected[:-1])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "not a WAV file"),
            (b"ID3 no wave at all", "not a WAV file"),
            (b"RIFF", "not a WAV file"),
            (b"RIFF1234WAVE", "cut off or damaged"),
            (wav(np.zeros((10, 1), np.int16))[:30], "cut off or damaged"),
            (wav(np.zeros((10, 1), np.int16)).replace(b"data", b"duty"), "cut off or damaged"),
            (wav(np.zeros((10, 1), np.int16)).replace(b"fmt \x10\0\0\0\x01", b"fmt \x10\0\0\0\x06"), "no integers"),
            (wav(np.zeros((10, 1), np.int16)).replace(b"\0\x01\0\x01\0", b"\0\x01\0\0\0"), "no channels"),
            (wav(np.zeros((10, 1), np.int16), rate=10), "less than 2000"),
            (wav(np.zeros((0, 1), np.int16)), "without samples"),
        ],
    )
    def test_others_are_refused_in_the_graph(self, content, message):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decode_wav(content)

    def test_at_most_1000_chunks_are_read(self):
        whole = wav(np.full((10, 1), 77, np.int16))
        for count, read in ((997, True), (1000, False)):
            content = whole[:36] + b"junk\0\0\0\0" * count + whole[36:]
            if read:
                np.testing.assert_array_equal(decode_wav(content), decode_wav(whole))
            else:
                with pytest.raises(tf.errors.InvalidArgumentError, match="cut off or damaged"):
                    decode_wav(content)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(("width", "rate"), [("FLOAT", 8000), ("DOUBLE", 16000)])
    def test_samples_that_are_not_finite_are_refused(self, value, width, rate, tmp_path):
        samples = np.zeros((200, 2))
        samples[100, 1] = value
        soundfile.write(tmp_path / "a.wav", samples, rate, width)
        with pytest.raises(tf.errors.InvalidArgumentError, match="samples that are not finite"):
            decode_wav((tmp_path / "a.wav").read_bytes())
