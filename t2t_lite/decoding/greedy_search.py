"""Greedy search."""

from typing import Any

import tensorflow as tf

from t2t_lite.decoding.search import Decoded, Decoder, SearchInputs, search_left_to_right


class GreedyDecoder(Decoder):
    """Takes the most probable token at each position."""

    def search(self, net: Any, inputs: SearchInputs) -> Decoded:
        """See Decoder.search."""
        return search_left_to_right(
            self, net, inputs, lambda log_probs, *_: tf.argmax(log_probs, -1, output_type=tf.int32)
        )
