"""Mends the header of a WAV file that was streamed: its "data" chunk says 0 bytes, though samples follow."""

import struct

# Chunks that may follow an empty "data" chunk. Anything else behind it is taken for samples.
OTHER_CHUNKS = (b"LIST", b"fact", b"PEAK", b"cue ", b"id3 ", b"ID3 ", b"bext", b"smpl", b"inst", b"JUNK", b"junk")
_HEADER, _CHUNK = 12, 8  # bytes of "RIFF", a size, "WAVE"; and of a chunk's name and size


def with_data_size(content: bytes) -> bytes:
    """Returns a WAV file whose "data" chunk reaches to the file's end, if it says 0 bytes and samples follow.

    Any other content is returned unchanged.
    """
    if content[:4] != b"RIFF" or content[8:_HEADER] != b"WAVE":
        return content
    place = _HEADER
    while place + _CHUNK <= len(content):
        name, (size,) = content[place : place + 4], struct.unpack_from("<I", content, place + 4)
        start = place + _CHUNK
        if name == b"data":
            if size or start == len(content) or content[start : start + 4] in OTHER_CHUNKS:
                return content
            sizes = (struct.pack("<I", min(bytes_, 0xFFFFFFFF)) for bytes_ in (len(content) - 8, len(content) - start))
            return b"".join((b"RIFF", next(sizes), content[8 : place + 4], next(sizes), content[start:]))
        place = start + size + size % 2
    return content
