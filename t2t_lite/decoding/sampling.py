"""Sampling: answers drawn by chance, with a seed. Shapes as in search.py."""

from typing import Any

import tensorflow as tf

from t2t_lite.decoding.search import Decoded, Decoder, SearchInputs, search_left_to_right


class SamplingDecoder(Decoder):
    """Draws each token from the model's distribution, sharpened and cut.

    What is drawn depends on the seed, the input and the number of the answer alone: not on the batch around the input.

    Args:
      model: a trained model.
      answers: how many are drawn for an input.
      temperature: logits are divided by it; below 1 the likely become likelier.
      top_k: only the k likeliest tokens can be drawn; 0: all.
      top_p: only the fewest tokens whose probabilities reach p together (nucleus sampling, Holtzman et al., 2020).
      seed: of what is drawn.
    """

    def __init__(
        self,
        model: Any,
        answers: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ):
        super().__init__(model)
        self.answers, self.seed = answers, seed
        self._cut: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}

    def search(self, net: Any, start: SearchInputs) -> Decoded:
        """Draws the answers one token after the other."""
        inputs = tf.shape(start.encoded)[0]
        start = start.repeated(self.answers)
        numbers = tf.tile(tf.range(self.answers, dtype=tf.int64), [inputs])
        # One stream of numbers an answer, all drawn beforehand: a draw for the whole batch would tie its rows together.
        streams = tf.map_fn(
            lambda mark: tf.random.stateless_uniform([start.limit], tf.stack([tf.constant(self.seed, tf.int64), mark])),
            start.fingerprints * 1_000_003 + numbers,
            fn_output_signature=tf.TensorSpec([None], tf.float32),
        )
        return search_left_to_right(
            self, net, start, lambda log_probs, position: sample_tokens(log_probs, streams[:, position], **self._cut)
        )


def sample_tokens(
    log_probs: tf.Tensor, uniform: tf.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> tf.Tensor:
    """Draws a token a row: log-probabilities (B, V) and numbers (B,) in [0, 1) -> int32 (B,)."""
    vocabulary = log_probs.shape[-1]
    best, tokens = tf.math.top_k(log_probs / temperature, min(top_k or vocabulary, vocabulary))  # descending
    chances = tf.nn.softmax(best)
    before = tf.cumsum(chances, axis=-1, exclusive=True)
    chances = tf.where(before < top_p, chances, 0.0)  # the first is kept whatever top_p is
    reached = tf.cumsum(chances, axis=-1)
    passed = tf.reduce_sum(tf.cast(reached <= uniform[:, None] * reached[:, -1:], tf.int32), axis=-1)
    # Rounding could pass over all of them.
    last = tf.reduce_sum(tf.cast(chances > 0, tf.int32), axis=-1) - 1
    return tf.gather(tokens, tf.minimum(passed, last), batch_dims=1)
