"""Tokenizes and detokenizes text in the graph. Shapes: B batch, L tokens."""

import tensorflow as tf
import tensorflow_text

from t2t_lite.data.vocabulary import END, ESCAPE, PAD, SPACE, Vocabulary
from t2t_lite.media.graph_bytes import check


class Tokenizer(tf.Module):
    """Does in the graph what `Vocabulary` does, with the same sentencepiece model.

    Args:
      vocabulary: the vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self._tokenizer = tensorflow_text.SentencepieceTokenizer(vocabulary.model)

    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts (B,) -> int64 (B, None), without the end token. Refuses text that is not UTF-8."""
        is_text = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace") == texts
        with tf.control_dependencies([check(tf.reduce_all(is_text), "not UTF-8 text")]):
            texts = tf.strings.regex_replace(texts, ESCAPE, ESCAPE + "0")
        texts = tf.strings.regex_replace(texts, SPACE, ESCAPE + "1")
        return tf.cast(self._tokenizer.tokenize(texts), tf.int64)

    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 (B, L) -> texts (B,), each up to its first end token."""
        texts = self._tokenizer.detokenize(tf.ragged.boolean_mask(ids, _is_text(ids)))
        texts = tf.strings.regex_replace(texts, ESCAPE + "1", SPACE)
        return tf.strings.regex_replace(texts, ESCAPE + "0", ESCAPE)

    def pieces(self, ids: tf.Tensor) -> tf.Tensor:
        """int32 (B, L) -> strings (B, L): the piece of each id, "" from the end token on."""
        pieces = tf.strings.regex_replace(self._tokenizer.id_to_string(ids), SPACE, " ")
        return tf.where(_is_text(ids), pieces, "")


def _is_text(ids: tf.Tensor) -> tf.Tensor:
    """Returns bool (B, L): True before the end token, except at padding."""
    ended = tf.cumsum(tf.cast(ids == END, tf.int32), axis=1) > 0
    return ~ended & (ids != PAD)
