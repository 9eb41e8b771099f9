"""Records as bytes: tf.train.Examples in the frames of TFRecord files, written and checked without TensorFlow."""

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

_HEADER, _FOOTER = 12, 4  # bytes around a record: its length (8) and the length's checksum (4); its own checksum


def serialize(values: dict[str, bytes | list[int]]) -> bytes:
    """A tf.train.Example in protocol buffer form."""
    entries = []
    for key, value in sorted(values.items()):
        # Feature.bytes_list or Feature.int64_list; in both, the first field holds the values (integers packed).
        kind, content = (_FIRST, value) if isinstance(value, bytes) else (_THIRD, _varints(value))
        feature = _field(kind, _field(_FIRST, content))
        entries.append(_field(_FIRST, _field(_FIRST, key.encode()) + _field(_SECOND, feature)))  # Features: map entries
    return _field(_FIRST, b"".join(entries))  # Example.features


def frame_record(record: bytes) -> bytes:
    """A record as it stands in a TFRecord file: its length, the checksum of the length, the record, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


class DamageError(Exception):
    """A TFRecord file is not what was written.

    Attributes:
      offset: the byte at which the first damaged record begins.
      number: how many whole records stand before it.
    """

    def __init__(self, offset: int, number: int):
        super().__init__(f"record {number}, at byte {offset}")
        self.offset = offset
        self.number = number


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file.

    Raises:
      DamageError: a record is cut off, or a checksum does not match.
    """
    offset = number = 0
    with path.open("rb") as file:
        while header := file.read(_HEADER):
            if len(header) < _HEADER or header[8:] != _masked_crc(header[:8]):
                raise DamageError(offset, number)
            (length,) = struct.unpack("<Q", header[:8])
            record, checksum = file.read(length), file.read(_FOOTER)
            if len(record) < length or checksum != _masked_crc(record):
                raise DamageError(offset, number)
            yield record
            offset += _HEADER + length + _FOOTER
            number += 1


def _masked_crc(content: bytes) -> bytes:
    """CRC-32C as TFRecord files hold it: turned by 15 bits, plus a constant."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"  # fields of variable length: their number << 3 | 2


def _field(tag: bytes, content: bytes) -> bytes:
    """A field of variable length."""
    return tag + _varint(len(content)) + content


def _coded(value: int) -> bytes:
    """An integer in groups of 7 bits, the lowest first; all but the last have the high bit set."""
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


_SMALL = [_coded(value) for value in range(1 << 14)]  # most of what is coded are ids of tokens


def _varint(value: int) -> bytes:
    return _SMALL[value] if value < len(_SMALL) else _coded(value)


def _varints(values: list[int]) -> bytes:
    if values and max(values) >= len(_SMALL):
        return b"".join(map(_coded, values))
    return b"".join(map(_SMALL.__getitem__, values))


def parse(record: bytes) -> dict[str, bytes | list[int]]:
    """The inverse of `serialize`."""
    values: dict[str, bytes | list[int]] = {}
    for features in _fields(record).get(1, []):
        for entry in _fields(features).get(1, []):
            fields = _fields(entry)
            feature = _fields(fields[2][0]) if 2 in fields else {}
            if 1 in feature:
                values[fields[1][0].decode()] = _fields(feature[1][0]).get(1, [b""])[0]
            else:
                values[fields[1][0].decode()] = _read_varints(b"".join(_fields(feature[3][0]).get(1, [])))
    return values


def _fields(content: bytes) -> dict[int, list[bytes]]:
    """{number: contents} of a message whose fields are all length-delimited."""
    found: dict[int, list[bytes]] = {}
    place = 0
    while place < len(content):
        number = content[place] >> 3
        length, place = _read_varint(content, place + 1)
        found.setdefault(number, []).append(content[place : place + length])
        place += length
    return found


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """An integer, and the place behind it."""
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return value, place


def _read_varints(content: bytes) -> list[int]:
    values, place = [], 0
    while place < len(content):
        value, place = _read_varint(content, place)
        values.append(value)
    return values
