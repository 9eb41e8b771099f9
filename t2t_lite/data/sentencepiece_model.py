"""Writes and edits serialized sentencepiece models (ModelProto), without their protobuf module.

That module clashes with the one in TensorFlow. The field numbers are those of sentencepiece_model.proto.
"""

import struct
from collections.abc import Iterator

from t2t_lite.data.records import read_varint
from t2t_lite.errors import UserError

_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6  # SentencePiece.Type; NORMAL, 1, is the default
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of ModelProto
_MODEL_TYPE, _BYTE_FALLBACK, _EOS_NAME, _PAD_NAME = 3, 35, 47, 48  # fields of TrainerSpec
_UNK_ID, _BOS_ID, _EOS_ID, _PAD_ID = 40, 41, 42, 43  # the same
_BPE = 2  # TrainerSpec.ModelType
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

_Value = int | bytes
_ABSENT = (1 << 64) - 1  # -1, as protobuf writes an int32


def byte_model() -> bytes:
    """Returns a model with the pieces pad, end, unknown and the 256 bytes, which spells any text in UTF-8."""
    pieces = [(b"<pad>", _CONTROL), (b"</s>", _CONTROL), (b"<unk>", _UNKNOWN)]
    pieces += [(b"<0x%02X>" % byte, _BYTE) for byte in range(256)]
    trainer = _message((_MODEL_TYPE, _BPE), (4, len(pieces)), (_BYTE_FALLBACK, 1)) + _special_ids()
    # The identity, without a space before the text, with all spaces, and with " " as the byte 0x20.
    normalizer = _message((1, b"identity"), (3, 0), (4, 0), (5, 0))
    model = [(_PIECES, _message((1, name), (3, kind))) for name, kind in pieces]
    return _message(*model, (_TRAINER, trainer), (_NORMALIZER, normalizer))


def with_special_ids(model: bytes, name: str) -> bytes:
    """Returns the model with its pieces reordered so that pad, end and unknown have the ids 0, 1 and 2.

    The order of the pieces is that of their ids and has no other meaning. A model without a pad or an end token gets
    one. A model that has these ids already stays as it is.

    Args:
      model: a serialized sentencepiece model.
      name: the file's name, for messages.

    Raises:
      UserError: it is no sentencepiece model.
    """
    try:
        fields = list(_fields(model))
        pieces = [dict(_fields(value)) for field, value in fields if field == _PIECES and isinstance(value, bytes)]
        trainer = b"".join(value for field, value in fields if field == _TRAINER and isinstance(value, bytes))
        spec = dict(_fields(trainer))
        names = [piece[1] for piece in pieces]
        kinds = [piece.get(3, 1) for piece in pieces]
        unknown = kinds.index(_UNKNOWN)
    except (ValueError, KeyError, IndexError, struct.error) as e:
        raise UserError(f"{name}: not a sentencepiece model") from e
    control = {value: i for i, (value, kind) in enumerate(zip(names, kinds, strict=True)) if kind == _CONTROL}
    pad, end = control.get(spec.get(_PAD_NAME, b"<pad>")), control.get(spec.get(_EOS_NAME, b"</s>"))
    if (pad, end, unknown) == (0, 1, 2):
        return model
    pad_name, end_name = b"<pad>", b"</s>"
    while pad is None and pad_name in names:
        pad_name = b"<%s>" % pad_name
    while end is None and end_name in names:
        end_name = b"<%s>" % end_name
    stored = [value for field, value in fields if field == _PIECES]
    first = [
        _message((1, pad_name), (3, _CONTROL)) if pad is None else stored[pad],
        _message((1, end_name), (3, _CONTROL)) if end is None else stored[end],
        stored[unknown],
    ]
    rest = [value for i, value in enumerate(stored) if i not in (pad, end, unknown)]
    renamed = b""
    if pad is None:
        renamed += _message((_PAD_NAME, pad_name))
    if end is None:
        renamed += _message((_EOS_NAME, end_name))
    others = [(field, value) for field, value in fields if field not in (_PIECES, _TRAINER)]
    pieces_first = [(_PIECES, value) for value in (*first, *rest)]
    # A field that comes twice counts as given last.
    return _message(*pieces_first, (_TRAINER, trainer + _special_ids() + renamed), *others)


def has_byte_fallback(model: bytes) -> bool:
    """Whether the model spells characters that have no piece in bytes."""
    trainer = [value for field, value in _fields(model) if field == _TRAINER and isinstance(value, bytes)]
    return bool(dict(_fields(b"".join(trainer))).get(_BYTE_FALLBACK, 0))


def _special_ids() -> bytes:
    return _message((_PAD_ID, 0), (_EOS_ID, 1), (_UNK_ID, 2), (_BOS_ID, _ABSENT))


def _message(*fields: tuple[int, _Value]) -> bytes:
    """Serializes fields: integers as varints, bytes with their length."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3 | _VARINT), _varint(value)]
        else:
            parts += [_varint(number << 3 | _BYTES), _varint(len(value)), value]
    return b"".join(parts)


def _fields(content: bytes) -> Iterator[tuple[int, _Value]]:
    """Yields (number, value) of a message's fields; a value of fixed size as its bytes.

    Raises:
      ValueError: the bytes are no message.
      IndexError: the message is cut off.
    """
    offset = 0
    while offset < len(content):
        tag, offset = read_varint(content, offset)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, offset = read_varint(content, offset)
            yield number, value
            continue
        if kind == _BYTES:
            size, offset = read_varint(content, offset)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if offset + size > len(content):
            raise IndexError("cut off")
        yield number, content[offset : offset + size]
        offset += size


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
