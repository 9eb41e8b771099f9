"""Vocabularies: text to subword ids and back, with a sentencepiece model that several problems share."""

import collections
import hashlib
import io
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from t2t_lite.data.sentencepiece_model import byte_model, has_byte_fallback, with_special_ids
from t2t_lite.errors import UserError
from t2t_lite.escapes import printable

PAD, END, UNKNOWN = 0, 1, 2  # ids that every vocabulary has; there is no start token
BYTES = "bytes"  # the name of the vocabulary whose pieces are the bytes of UTF-8

# The limits of the training text. sentencepiece takes about 30 bytes of memory for each character and 350 for each
# distinct pair of adjacent characters: there are few in languages with an alphabet, millions without one.
_MAX_CHARACTERS, _MAX_PAIRS = 20_000_000, 1_000_000
_CHUNK = 1000  # characters; sentencepiece skips sentences of more than 4192 bytes
_RESERVED = 3 + 256  # ids of PAD, END, UNKNOWN and the bytes

# sentencepiece writes a space as U+2581, so a U+2581 of the text would come back as a space. It is escaped with a
# character that is not assigned, and so is that character.
SPACE, ESCAPE = "\u2581", "\U0010ffff"


class Vocabulary:
    """A sentencepiece model.

    `decode(encode(text)) == text` for every text and every model trained here: bytes spell what has no piece. The
    user's own models may normalize text, or lose characters.

    Args:
      model: the serialized sentencepiece model, as stored in `vocab.NAME.model`.

    Attributes:
      shortage: after training, a line for the user if the size was too small for the characters of the text; else "".
    """

    def __init__(self, model: bytes):
        self.model = model
        self.shortage = ""
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @property
    def size(self) -> int:
        """The number of ids: pad, end, unknown, the 256 bytes and the pieces."""
        return int(self._processor.vocab_size())

    @property
    def checksum(self) -> str:
        """SHA-256 of the model, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without the end token."""
        return self._processor.encode(_escape(text))

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of several texts."""
        return self._processor.encode([_escape(text) for text in texts], num_threads=1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids up to the first end token; padding and ids outside the vocabulary are ignored."""
        kept = []
        for i in map(int, ids):
            if i == END:
                break
            if i != PAD and i < self.size:
                kept.append(i)
        text: str = self._processor.decode(kept)
        if ESCAPE in text:
            text = text.replace(ESCAPE + "1", SPACE).replace(ESCAPE + "0", ESCAPE)
        return text

    def missing_symbols(self, symbols: Iterable[str]) -> list[str]:
        """Returns the symbols that have no piece of their own."""
        return [symbol for symbol in symbols if self._processor.piece_to_id(SPACE + symbol) == UNKNOWN]

    def piece(self, i: int) -> str:
        """The piece of an id, with U+2581 for a space."""
        return str(self._processor.id_to_piece(i))

    def is_byte(self, i: int) -> bool:
        """Whether an id stands for a single byte."""
        return bool(self._processor.is_byte(i))

    @classmethod
    def train(cls, texts: Iterable[str], size: int, symbols: Iterable[str] = ()) -> "Vocabulary":
        """Trains a vocabulary, on as many of the first texts as fit in 1 GB of memory; deterministic.

        If the size is too small for the characters of the text, the rare ones get no piece and are spelled in bytes;
        `shortage` then says so.

        Args:
          texts: any strings.
          size: the largest number of ids; fewer if the texts do not fill them.
          symbols: words that get a piece of their own, such as "(NP" of a tree.

        Raises:
          UserError: there is no text, or the size does not even hold the bytes, the symbols and one character.
        """
        chunks, symbols = list(_chunks(texts)), sorted(set(symbols))
        if not any(chunk.strip("\n") for chunk in chunks):
            raise UserError("there is no text to build a vocabulary from")
        try:
            # sentencepiece has another error for sizes without the reserved ids.
            return cls(_train(chunks, max(size, _RESERVED), symbols, 0.9995))
        except RuntimeError as e:
            required = re.search(r"required_chars\. \d+ vs (\d+)", str(e))
            if not required:
                raise
            needed = required[1]
        room = size - _RESERVED - len(symbols) - 1  # without the piece of a space
        if room < 1:
            raise UserError(
                f"vocab_size={size} is too small: {_RESERVED + len(symbols)} ids are bytes, symbols and special "
                f"tokens; vocab_size={needed} holds the characters of the text too"
            )
        # The other half of the room is for longer pieces.
        kept, number = _common_characters(chunks, (room + 1) // 2)
        vocabulary = cls(_train([_blank_out(chunk, kept) for chunk in chunks], size, symbols, 1.0))
        vocabulary.shortage = (
            f"vocab_size={size} is too small for the {number:,} different characters of the text: the rare ones are "
            f"spelled in bytes (vocab_size={needed} holds all but the rarest 0.05%)"
        )
        return vocabulary

    @classmethod
    def of_bytes(cls) -> "Vocabulary":
        """Returns the vocabulary whose pieces are the 256 bytes."""
        return cls(byte_model())

    @classmethod
    def from_user_file(cls, path: Path) -> "Vocabulary":
        """Reads a sentencepiece model of the user's own; its pad, end and unknown tokens get the ids 0, 1 and 2.

        `shortage` says so if the model has no bytes to spell characters without a piece.

        Raises:
          UserError: the file is missing or not a sentencepiece model.
        """
        name = printable(path)
        try:
            vocabulary = cls(with_special_ids(path.read_bytes(), f"vocab_file: {name}"))
        except OSError as e:
            raise UserError(f"vocab_file: {name}: cannot be read: {e.strerror}") from e
        except RuntimeError as e:
            raise UserError(f"vocab_file: {name}: not a sentencepiece model") from e
        if not has_byte_fallback(vocabulary.model):
            vocabulary.shortage = (
                f"{name} was trained without byte_fallback: characters without a piece are stored as unknown, and "
                "cannot be answered"
            )
        return vocabulary

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads a vocabulary file.

        Raises:
          UserError: the file is missing or not a sentencepiece model.
        """
        try:
            return cls(path.read_bytes())
        except OSError as e:
            raise UserError(f"{path}: cannot read the vocabulary ({e.strerror}); run t2t-datagen again") from e
        except RuntimeError as e:
            raise UserError(f"{path}: not a vocabulary; delete it and run t2t-datagen again") from e


def vocabulary_path(data_dir: Path, name: str) -> Path:
    """The path of the vocabulary with that name."""
    return data_dir / f"vocab.{name}.model"


def _escape(text: str) -> str:
    """Escapes the character that stands for a space in pieces."""
    if SPACE in text or ESCAPE in text:
        text = text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1")
    return text


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """Yields the texts up to the limits, in chunks that sentencepiece does not skip."""
    characters = 0
    pairs: set[str] = set()
    for text in texts:
        characters += len(text)
        pairs.update(map(operator.add, text, text[1:]))
        if characters > _MAX_CHARACTERS or len(pairs) > _MAX_PAIRS:
            return
        for start in range(0, len(text), _CHUNK):
            yield text[start : start + _CHUNK]


def _train(chunks: list[str], size: int, symbols: list[str], character_coverage: float) -> bytes:
    """Trains a sentencepiece model and returns it serialized."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(chunks),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        user_defined_symbols=[SPACE + symbol for symbol in symbols],
        remove_extra_whitespaces=False,
        character_coverage=character_coverage,
        num_threads=4,  # the model depends on this number, but not on the machine
        minloglevel=2,
    )
    return model.getvalue()


def _common_characters(chunks: list[str], number: int) -> tuple[set[str], int]:
    """Returns the most common characters and how many different ones there are. Spaces do not count."""
    counts: collections.Counter[str] = collections.Counter()
    for chunk in chunks:
        counts.update(chunk)
    for character in (" ", SPACE, "\n", "\0"):
        del counts[character]
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return set(ranked[:number]), len(ranked)


def _blank_out(chunk: str, kept: set[str]) -> str:
    """Replaces all other characters by NUL, which sentencepiece neither counts as a character nor merges.

    Its own option, character_coverage, cannot leave out more than 2 % of the text.
    """
    return "".join(c if c in kept or c in (" ", SPACE) else "\0" for c in chunk)
