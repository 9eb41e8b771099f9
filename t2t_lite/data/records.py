"""Writes and reads TFRecord files of tf.train.Examples, without TensorFlow."""

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

_HEADER, _FOOTER = 12, 4  # bytes around a record: its length (8) and the checksum of that (4); the record's checksum


def serialize(values: dict[str, bytes | list[int]]) -> bytes:
    """Serializes a tf.train.Example."""
    entries = []
    for key, value in sorted(values.items()):
        # Feature.bytes_list or Feature.int64_list; in both, the first field holds the values (integers packed).
        kind, content = (_FIRST, value) if isinstance(value, bytes) else (_THIRD, _varints(value))
        feature = _field(kind, _field(_FIRST, content))
        entries.append(_field(_FIRST, _field(_FIRST, key.encode()) + _field(_SECOND, feature)))  # Features: map entries
    return _field(_FIRST, b"".join(entries))  # Example.features


def frame_record(record: bytes) -> bytes:
    """Frames a record for a TFRecord file: its length, the checksum of the length, the record, its checksum."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def frame_bytes(size: int) -> int:
    """The size of the frame of a record of `size` bytes, the record included."""
    return _HEADER + size + _FOOTER


def unframe_record(frame: bytes) -> bytes:
    """The inverse of `frame_record`.

    Raises:
      ValueError: the frame is damaged or is not that of one record.
    """
    record = frame[_HEADER:-_FOOTER]
    if frame[:8] != struct.pack("<Q", len(record)) or frame[-_FOOTER:] != _masked_crc(record):
        raise ValueError("the record is damaged")
    return record


class DamageError(Exception):
    """A TFRecord file has a damaged record.

    Attributes:
      offset: the byte at which the first damaged record begins.
      number: the number of records before it.
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
    """CRC-32C as TFRecord files store it: rotated by 15 bits, plus a constant."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"  # tags of length-delimited fields: field number << 3 | 2


def _field(tag: bytes, content: bytes) -> bytes:
    """A length-delimited field."""
    return tag + _varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    """An integer in groups of 7 bits, the lowest first; all but the last have the high bit set."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SMALL = [_encode_varint(value) for value in range(1 << 14)]  # a table, because most integers are token ids


def _varint(value: int) -> bytes:
    return _SMALL[value] if value < len(_SMALL) else _encode_varint(value)


def _varints(values: list[int]) -> bytes:
    if values and max(values) >= len(_SMALL):
        return b"".join(map(_encode_varint, values))
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


_CONTINUED = bytes(range(0x80, 0x100))  # all bytes of an integer but its last


def value_sizes(record: bytes) -> dict[str, int]:
    """The sizes of the values that `serialize` wrote: {key: bytes, or the number of integers}. Faster than `parse`."""
    sizes = {}
    _, offset = read_varint(record, 1)  # Example.features
    while offset < len(record):
        _, offset = read_varint(record, offset + 1)  # a map entry
        size, offset = read_varint(record, offset + 1)
        key = record[offset : offset + size].decode()
        size, start = read_varint(record, offset + size + 1)  # the Feature: a list, which is its only field
        offset = start + size
        _, content = read_varint(record, start + 1)
        size, content = read_varint(record, content + 1)
        is_bytes = record[start] == _FIRST[0]
        sizes[key] = size if is_bytes else len(record[content : content + size].translate(None, _CONTINUED))
    return sizes


def _fields(content: bytes) -> dict[int, list[bytes]]:
    """{field number: contents} of a message whose fields are all length-delimited."""
    fields: dict[int, list[bytes]] = {}
    offset = 0
    while offset < len(content):
        number = content[offset] >> 3
        length, offset = read_varint(content, offset + 1)
        fields.setdefault(number, []).append(content[offset : offset + length])
        offset += length
    return fields


def read_varint(content: bytes, offset: int) -> tuple[int, int]:
    """Returns an integer and the offset after it."""
    value = shift = 0
    while True:
        byte = content[offset]
        value |= (byte & 0x7F) << shift
        shift, offset = shift + 7, offset + 1
        if byte < 0x80:
            return value, offset


def _read_varints(content: bytes) -> list[int]:
    values, offset = [], 0
    while offset < len(content):
        value, offset = read_varint(content, offset)
        values.append(value)
    return values
