"""Finds damage of PNG files that Pillow overlooks and TensorFlow's decoder refuses, without TensorFlow."""

import zlib

PNG = b"\x89PNG\r\n\x1a\n"  # the first bytes of a PNG file
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: grey, RGB, palette, grey and alpha, RGBA
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits, by colour type
_PALETTE = 3
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_BLOCK = 1 << 20  # bytes decompressed at a time


def check_png(content: bytes) -> None:
    """Checks the chunks, their checksums and the compressed data of a PNG file.

    Raises:
      ValueError: the file is cut off or damaged; the text says where.
    """
    header, data, palette, data_ended = b"", [], False, False
    place = len(PNG)
    while True:
        size, name = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        end = place + 12 + size
        if end > len(content):
            raise ValueError(f"cut off or damaged: no whole PNG chunk at byte {place}")
        body = content[place + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(content[end - 4 : end], "big"):
            raise ValueError(f"damaged: wrong checksum of the PNG chunk at byte {place}")
        if bool(header) == (name == b"IHDR") or (name == b"IEND" and size):
            raise ValueError(f"damaged: unexpected PNG chunk {name!r} at byte {place}")
        if name == b"IHDR":
            header = _checked_header(body)
        elif name == b"IDAT":
            if data_ended:
                raise ValueError(f"damaged: pixels continue in the PNG chunk at byte {place}")
            data.append(body)
        elif name == b"IEND":
            break
        elif name == b"PLTE":
            if palette or data or not size or size % 3 or size > 3 * 256:
                raise ValueError(f"damaged: wrong palette in the PNG chunk at byte {place}")
            palette = True
        elif not name.isalpha() or name[:1].isupper():
            raise ValueError(f"damaged: unknown critical PNG chunk {name!r} at byte {place}")
        data_ended = bool(data) and name != b"IDAT"
        place = end
    if header[9] == _PALETTE and not palette:
        raise ValueError("damaged: a PNG picture without its palette")
    _check_data(data, _raw_bytes(header))


def _checked_header(header: bytes) -> bytes:
    if len(header) == 13:
        sides = [int.from_bytes(header[i : i + 4], "big") for i in (0, 4)]
        depth, colour, compression, filtering, interlace = header[8:]
        if depth in _DEPTHS.get(colour, ()) and not compression and not filtering and interlace <= 1 and min(sides):
            return header
    raise ValueError("damaged: a PNG header with impossible values")


def _raw_bytes(header: bytes) -> int:
    """The number of bytes that the pixels of a PNG file have before compression, filter bytes included."""
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
    bits = header[8] * _CHANNELS[header[9]]
    total = 0
    for left, top, across, down in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _check_data(data: list[bytes], expected: int) -> None:
    """Decompresses the data block by block; raises ValueError if the stream does not end, or has too few bytes."""
    stream, count = zlib.decompressobj(), 0
    try:
        for part in data:
            while part and not stream.eof:
                count += len(stream.decompress(part, _BLOCK))
                part = stream.unconsumed_tail
                if count > expected + _BLOCK:
                    raise ValueError("damaged: more PNG data than the picture has pixels")
    except zlib.error as e:
        raise ValueError(f"damaged: compressed PNG data: {e}") from e
    if not stream.eof or count < expected:
        raise ValueError("cut off: PNG data of fewer pixels than the header says")
