"""The EXIF orientation of a picture file, read from its bytes; `decode_inputs` reads the same in the graph."""

import re

EXIF_BYTES = 1 << 18  # how far into a JPEG file, and into EXIF data, the orientation is looked for
ORIENTATION = 0x0112  # the tag; 1 is upright
_IN_JPEG = re.compile(rb"\xff\xe1..Exif\0\0", re.DOTALL)  # the segment's marker, its length, its kind
_IN_PNG = re.compile(rb"eXIf(?=II\*\0|MM\0\*)")  # the chunk's name, before the byte order


def jpeg_orientation(content: bytes) -> int:
    """The orientation that the EXIF segment of a JPEG file states, 1 to 8; 1 (upright) if it states none."""
    found = _IN_JPEG.search(content[:EXIF_BYTES])
    return _orientation(content[found.end() : EXIF_BYTES]) if found else 1


def png_orientation(content: bytes) -> int:
    """The orientation that the eXIf chunk of a PNG file states, 1 to 8; 1 (upright) if it states none."""
    found = _IN_PNG.search(content)
    return _orientation(content[found.end() : found.end() + EXIF_BYTES]) if found else 1


def _orientation(tiff: bytes) -> int:
    def read(place: int, count: int) -> int:
        """The number in some bytes; bytes behind the end are 0."""
        number = tiff[place : place + count].ljust(count, b"\0")
        return int.from_bytes(number, "little" if tiff[:1] == b"I" else "big")

    table = min(read(4, 4), EXIF_BYTES)
    for entry in range(table + 2, min(table + 2 + 12 * read(table, 2), len(tiff)), 12):
        if read(entry, 2) == ORIENTATION:
            value = read(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1
