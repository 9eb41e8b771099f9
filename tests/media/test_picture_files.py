"""Picture files in training, decoding and serving: damage is found, and all three see the same picture."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as PilImage
from PIL import ImageOps

from t2t_lite.errors import UserError
from t2t_lite.media import decode_inputs, exif, limits
from t2t_lite.media.picture_files import image_bytes, input_picture, picture_suffixes

decode_picture = tf.function(decode_inputs.decode_picture, input_signature=[tf.TensorSpec([], tf.string)])


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_stored(content):
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def chunk(name, body=b""):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(pixels, depth, colour, *chunks, after=()):
    """A PNG file of numbers (rows, columns, channels); `chunks` stand before the pixels, `after` behind them."""
    rows, columns, channels = pixels.shape
    bits = np.unpackbits(pixels.astype(">u2").reshape(rows, -1, 1).view(np.uint8), axis=2)[:, :, 16 - depth :]
    lines = np.packbits(bits.reshape(rows, columns * channels * depth), axis=1)
    data = b"".join(b"\0" + line.tobytes() for line in lines)
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    ends = [*chunks, chunk(b"IDAT", zlib.compress(data)), *after, chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(ends)


def saved(picture, kind="PNG", **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def noise(rows=7, columns=5, channels=3, seed=0, levels=256):
    return np.random.default_rng(seed).integers(0, levels, (rows, columns, channels))


def tiff(orientation, order="<"):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def assert_same(content, atol=0):
    """The picture is the same as stored for training, as the decoder passes it on, and as a server gets it."""
    stored = decode_stored(image_bytes(content)).numpy().astype(int)
    for given in (content, input_picture(content)):
        np.testing.assert_allclose(decode_picture(given).numpy().astype(int), stored, atol=atol)
    return stored


class TestSamePicture:
    @pytest.mark.parametrize("orientation", range(0, 10))
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("behind", [False, True])
    def test_png_exif_turns_it(self, orientation, order, behind):
        mark = chunk(b"eXIf", tiff(orientation, order))
        content = png(noise(), 8, 2, *([] if behind else [mark]), after=[mark] if behind else [])
        expected = np.asarray(ImageOps.exif_transpose(PilImage.open(io.BytesIO(png(noise(), 8, 2, mark)))))
        np.testing.assert_array_equal(assert_same(content), expected)

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_jpeg_exif_turns_it_and_xmp_does_not(self, orientation):
        smooth = PilImage.linear_gradient("L").resize((40, 24)).convert("RGB")
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
        content = saved(smooth, "JPEG", quality=95, exif=b"Exif\0\0" + tiff(orientation))
        assert_same(content, atol=8)
        assert image_bytes(saved(smooth, "JPEG", xmp=xmp)) == saved(smooth, "JPEG", xmp=xmp)

    @pytest.mark.parametrize(
        ("depth", "colour"),
        [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)],
    )
    def test_any_depth_with_and_without_transparency(self, depth, colour):
        channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        pixels = noise(channels=channels, levels=2**depth)
        pixels[2, 2] = pixels[1, 3]
        assert_same(png(pixels, depth, colour))
        if colour in (0, 2):  # one colour is transparent
            transparent = chunk(b"tRNS", struct.pack(f">{channels}H", *pixels[2, 2]))
            picture = assert_same(png(pixels, depth, colour, transparent))
            assert (picture[2, 2] == 255).all() and (picture[1, 3] == 255).all()

    @pytest.mark.parametrize("kind", ["WEBP", "BMP", "GIF", "TIFF", "PPM", "TGA", "JPEG2000"])
    def test_other_formats_become_png(self, kind):
        picture = PilImage.fromarray(noise(channels=4).astype(np.uint8)).convert("RGB" if kind != "GIF" else "P")
        content = saved(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
        stored = decode_stored(image_bytes(content))
        np.testing.assert_array_equal(decode_picture(input_picture(content)), stored)
        np.testing.assert_array_equal(stored, np.asarray(PilImage.open(io.BytesIO(content)).convert("RGB")))

    def test_orientation_is_read_alike_in_and_out_of_the_graph(self):
        graph = tf.function(decode_inputs._orientation, input_signature=[tf.TensorSpec([], tf.string)])
        rng = random.Random(1)
        for _ in range(300):
            data = bytearray(tiff(rng.randrange(10), rng.choice("<>")) + bytes(rng.randrange(30)))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.choice([0, 1, 8, 255, rng.randrange(256)])
            content = bytes(data[: rng.randrange(len(data) + 1)])
            assert graph(content).numpy() == exif._orientation(content), content


def damaged(content, rng):
    """A file with some bytes lost, changed or added; or with a changed chunk, of the right checksum."""
    content, kind = bytearray(content), rng.randrange(5)
    place = rng.randrange(len(content))
    if kind == 0:
        return bytes(content[: rng.choice([place, len(content) - rng.randrange(1, 30)])])
    if kind == 1:
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == 2:
        del content[place : place + rng.randrange(1, 50)]
    elif kind == 3:
        content[place:place] = rng.randbytes(rng.randrange(1, 20))
    elif content.startswith(b"\x89PNG"):
        chunks, start = [], 8
        while start < len(content):
            chunks.append((start, int.from_bytes(content[start : start + 4], "big")))
            start += 12 + chunks[-1][1]
        start, size = rng.choice(chunks)
        content[start + 4 + rng.randrange(size + 4)] = rng.randrange(256)
        content[start + 8 + size : start + 12 + size] = struct.pack(
            ">I", zlib.crc32(content[start + 4 : start + 8 + size])
        )
    return bytes(content)


class TestDamage:
    def test_whatever_is_stored_or_passed_on_decodes(self):
        rng = random.Random(0)
        texts = [chunk(b"tEXt", b"Comment\0" + bytes(30)), chunk(b"pHYs", bytes(9)), chunk(b"gAMA", bytes(4))]
        pixels = noise(20, 15, 4)
        whole = [
            png(pixels[..., :3], 8, 2, *texts),
            png(pixels[..., :1] * 257, 16, 0, *texts),
            saved(PilImage.fromarray(pixels.astype(np.uint8)).convert("P")),
            saved(PilImage.fromarray(pixels.astype(np.uint8)[..., :3]), "JPEG"),
        ]
        taken = 0
        for _ in range(600):
            content = damaged(rng.choice(whole), rng)
            for read, decode in ((image_bytes, decode_stored), (input_picture, decode_picture)):
                try:
                    picture = read(content)
                except UserError as e:
                    assert "not a readable picture" in str(e) or "pixels, at most" in str(e)
                else:
                    decode(picture)
                    taken += 1
        assert taken > 100

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c[:-12], "cut off or damaged: no whole PNG chunk at byte"),
            (lambda c: c[:-1], "cut off or damaged: no whole PNG chunk"),
            (lambda c: c[:-16] + bytes(4) + c[-12:], "wrong checksum of the PNG chunk at byte 33"),
            (lambda c: c.replace(b"IEND\xaeB`\x82", b"IEND\0\0\0\0"), "wrong checksum"),
            (lambda c: c[:33] + chunk(b"ABCD") + c[33:], "unknown critical PNG chunk b'ABCD'"),
            (lambda c: c[:33] + chunk(b"IDAT", zlib.compress(bytes(50))) + c[-12:], "fewer pixels than the header"),
            (lambda c: c[:33] + chunk(b"IDAT", c[41:-20]) + c[-12:], "fewer pixels than the header"),
            (lambda c: c[:-12] + chunk(b"tIME") + chunk(b"IDAT") + c[-12:], "pixels continue"),
            (lambda c: c[:33] + chunk(b"IDAT", zlib.compress(bytes(3 << 20))) + c[-12:], "more PNG data"),
        ],
    )
    def test_a_damaged_png_is_named_with_its_damage(self, change, message, tmp_path):
        content = png(noise(), 8, 2)
        (tmp_path / "a b.png").write_bytes(change(content))
        for read in (image_bytes, input_picture):
            with pytest.raises(UserError, match=rf"a b.png: not a readable picture \(.*{message}"):
                read(tmp_path / "a b.png")
            assert read(content + b"behind the end") == content + b"behind the end"

    def test_interlaced_png_is_whole(self):
        pixels = noise(9, 11)
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        data = b"".join(
            b"\0" + row.astype(np.uint8).tobytes()
            for left, top, across, down in passes
            for row in pixels[top::down, left::across]
            if row.size
        )
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 11, 9, 8, 2, 0, 0, 1))
        content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND")
        assert image_bytes(content) == content
        np.testing.assert_array_equal(assert_same(content), pixels)
        short = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data[:-9])) + chunk(b"IEND")
        with pytest.raises(UserError, match="fewer pixels"):
            image_bytes(short)


class TestLimits:
    def test_too_many_pixels_are_refused_before_they_are_read(self, tmp_path):
        bomb = png(noise(1, 1, 1), 8, 0)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(bomb[:8] + header + bomb[33:])
        for read in (image_bytes, input_picture):
            with pytest.raises(UserError, match=r"bomb.png: .*pixels"):
                read(tmp_path / "bomb.png")

    def test_training_takes_photos_that_a_server_refuses(self):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_000, 9_000, 1, 0, 0, 0, 0))
        data = chunk(b"IDAT", zlib.compress(bytes(9_000 * 1501)))
        content = b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND")
        assert PilImage.open(io.BytesIO(image_bytes(content, (32, 32)))).size == (43, 32)
        with pytest.raises(UserError, match=r"12000 x 9000 pixels, at most 33,554,432"):
            input_picture(content)
        assert limits.MAX_TRAINING_PIXELS > 12_000 * 9_000

    def test_pixels_that_are_floats_are_refused(self, tmp_path):
        PilImage.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(UserError, match=r"a.tif: not a readable picture \(its pixels are floating-point"):
            image_bytes(tmp_path / "a.tif")

    def test_suffixes(self):
        assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".mpo"} <= picture_suffixes()
        assert not {".txt", ".pdf", ".eps", ".mpg", ".db", ".ini"} & picture_suffixes()
