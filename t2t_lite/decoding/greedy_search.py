"""Greedy search."""

from typing import Any

import tensorflow as tf

from t2t_lite.decoding.search import Decoded, Decoder, Start, one_by_one


class GreedyDecoder(Decoder):
    """Decodes with the likeliest token at each position."""

    def search(self, net: Any, start: Start) -> Decoded:
        """The likeliest token at each position."""
        return one_by_one(self, net, start, lambda likelihoods, _: tf.argmax(likelihoods, -1, output_type=tf.int32))
