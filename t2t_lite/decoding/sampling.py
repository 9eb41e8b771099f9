"""Sampling with a seed, by temperature, top-k and top-p (nucleus). Shapes as in search.py."""

from typing import Any

import tensorflow as tf

from t2t_lite.decoding.search import Decoded, Decoder, SearchInputs, search_left_to_right

# The cumulative sum of probabilities has rounding errors: 0.5 + 0.3 may come out below or above a top_p of 0.8.
_SUM_TOLERANCE = 1e-6


class SamplingDecoder(Decoder):
    """Samples each token from the model's distribution, after temperature, top-k and top-p.

    A sample depends only on the seed, the input and the number of the answer, not on the rest of the batch.

    Args:
      model: a trained model.
      answers: samples per input.
      temperature: divides the logits; below 1 it makes probable tokens more probable.
      top_k: samples only from the k most probable tokens; 0: from all.
      top_p: samples only from the fewest tokens whose probabilities sum to p (nucleus, Holtzman et al., 2020).
      seed: of the random numbers.
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
        self._filters: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}

    def search(self, net: Any, inputs: SearchInputs) -> Decoded:
        """See Decoder.search."""
        batch = tf.shape(inputs.encoded)[0]
        inputs = inputs.repeated(self.answers)
        numbers = tf.tile(tf.range(self.answers, dtype=tf.int64), [batch])
        # A random stream per answer, drawn beforehand: one draw for the whole batch would depend on its size.
        streams = tf.map_fn(
            lambda seed: tf.random.stateless_uniform(
                [inputs.limit], tf.stack([tf.constant(self.seed, tf.int64), seed])
            ),
            inputs.fingerprints * 1_000_003 + numbers,
            fn_output_signature=tf.TensorSpec([None], tf.float32),
        )
        return search_left_to_right(
            self,
            net,
            inputs,
            lambda log_probs, position, rows: sample_tokens(
                log_probs, tf.gather(streams[:, position], rows), **self._filters
            ),
        )


def sample_tokens(
    log_probs: tf.Tensor, uniform: tf.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> tf.Tensor:
    """Samples a token per row: log-probabilities (B, V) and uniform numbers (B,) in [0, 1) -> int32 (B,)."""
    vocabulary = log_probs.shape[-1]
    best, tokens = tf.math.top_k(log_probs / temperature, min(top_k or vocabulary, vocabulary))  # descending
    probs = tf.nn.softmax(best)
    before = tf.cumsum(probs, axis=-1, exclusive=True)
    nucleus = top_p * (1 - _SUM_TOLERANCE) if top_p < 1 else 1.0
    probs = tf.where(before < nucleus, probs, 0.0)  # keeps the first token for any top_p
    cumulative = tf.cumsum(probs, axis=-1)
    index = tf.reduce_sum(tf.cast(cumulative <= uniform[:, None] * cumulative[:, -1:], tf.int32), axis=-1)
    last = tf.reduce_sum(tf.cast(probs > 0, tf.int32), axis=-1) - 1  # rounding may lead past it
    return tf.gather(tokens, tf.minimum(index, last), batch_dims=1)
