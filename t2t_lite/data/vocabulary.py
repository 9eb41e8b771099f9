"""Vocabularies: text to subword ids and back, by a sentencepiece model that several problems share."""

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import sentencepiece

from t2t_lite.errors import UserError

PAD, END, UNKNOWN = 0, 1, 2  # ids that every vocabulary has; there is no id for a beginning

_MAX_TEXTS = 2_000_000  # what a vocabulary is trained on at most
_MAX_CHARACTERS = 200_000_000
_CHUNK = 1000  # characters; sentencepiece passes over sentences of more than 4192 bytes

# sentencepiece writes a space as U+2581, so that a U+2581 of the text would come back as a space: it is hidden behind
# an escape that no text contains, and so is that escape.
SPACE, ESCAPE = "\u2581", "\U0010ffff"


class Vocabulary:
    """A sentencepiece model. `decode(encode(text)) == text` for every text: what has no piece is spelled in bytes.

    Args:
      model: the serialized sentencepiece model, as stored in `vocab.NAME.model`.
    """

    def __init__(self, model: bytes):
        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @property
    def size(self) -> int:
        """The number of ids: pad, end, unknown, 256 bytes and the pieces."""
        return int(self._processor.vocab_size())

    @property
    def checksum(self) -> str:
        """SHA-256 of the model, in hexadecimal."""
        return hashlib.sha256(self.model).hexdigest()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without the end token."""
        if SPACE in text or ESCAPE in text:
            text = text.replace(ESCAPE, ESCAPE + "0").replace(SPACE, ESCAPE + "1")
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, up to the first end token; padding and ids outside the vocabulary are passed over."""
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

    @classmethod
    def train(cls, texts: Iterable[str], size: int, symbols: Iterable[str] = ()) -> "Vocabulary":
        """Trains on texts, of which the first 2 million or 200 million characters count; the same texts give the same.

        Args:
          texts: any strings.
          size: ids at most; there are fewer where the texts do not fill them.
          symbols: words that are one piece each, such as "(NP" of a tree.

        Raises:
          UserError: there is no text, or the size does not hold the characters of the text.
        """
        stored = io.BytesIO()
        chunks = _chunks(texts)
        first = next(chunks, None)
        if first is None:
            raise UserError("there is no text to build a vocabulary from")
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=itertools.chain([first], chunks),
                model_writer=stored,
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
                user_defined_symbols=[SPACE + symbol for symbol in sorted(set(symbols))],
                remove_extra_whitespaces=False,
                character_coverage=0.9995,
                num_threads=4,  # the result depends on this number and on nothing else of the machine
                minloglevel=2,
            )
        except RuntimeError as e:
            if "required_chars" in str(e):
                raise UserError(f"vocab_size={size} is too small for the characters of the text and 256 bytes") from e
            raise
        return cls(stored.getvalue())

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads a vocabulary file.

        Raises:
          UserError: the file is missing or is no sentencepiece model.
        """
        try:
            return cls(path.read_bytes())
        except OSError as e:
            raise UserError(f"{path}: cannot read the vocabulary ({e.strerror}); run t2t-datagen again") from e
        except RuntimeError as e:
            raise UserError(f"{path}: not a vocabulary; delete it and run t2t-datagen again") from e


def vocabulary_path(data_dir: Path, name: str) -> Path:
    """Where the vocabulary of that name is stored."""
    return data_dir / f"vocab.{name}.model"


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    """The texts within the limits, in chunks that sentencepiece takes."""
    characters = 0
    for number, text in enumerate(texts):
        characters += len(text)
        if number >= _MAX_TEXTS or characters > _MAX_CHARACTERS:
            return
        for start in range(0, len(text), _CHUNK):
            yield text[start : start + _CHUNK]
