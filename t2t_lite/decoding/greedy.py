"""Greedy decoding over the body's one-step function. Shapes: B batch, L the longest output, D hidden size."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

END = 1  # the end token of every vocabulary


class Decoded(NamedTuple):
    """Outputs, the end token left in."""

    ids: tf.Tensor  # (B, L), 0 after the end token
    scores: tf.Tensor  # (B,): log-probability of the output, in nats
    finished: tf.Tensor  # (B,): whether the end token came before the limit


class GreedyDecoder:
    """Decodes batches with the likeliest token at each position, the whole search in one graph.

    Args:
      model: a trained model.
    """

    def __init__(self, model: Any):
        self.model = model
        self._searches: dict[str, Any] = {}

    def __call__(self, problem: str, batch: Mapping[str, tf.Tensor], max_length: int) -> Decoded:
        """Decodes a batch of inputs into at most max_length tokens each."""
        net = self.model.net(self.model.problems[problem].targets)
        if net.name not in self._searches:
            self._searches[net.name] = tf.function(
                lambda encoded, valid, command, limit: self._search(net, encoded, valid, command, limit),
                reduce_retracing=True,
            )
        encoded, _ = self.model.encode(problem, batch)
        command = self.model.command(problem, tf.shape(encoded.x)[0])
        return Decoded(*self._searches[net.name](encoded.x, encoded.valid, command, tf.constant(max_length)))

    def _search(self, net: Any, encoded: tf.Tensor, valid: tf.Tensor, command: tf.Tensor, limit: tf.Tensor) -> Decoded:
        body = self.model.body
        batch = tf.shape(encoded)[0]
        state = body.initial_state(encoded, valid, limit)
        ids = tf.TensorArray(tf.int32, size=limit, element_shape=[None])

        def unfinished(
            position: tf.Tensor, x: tf.Tensor, scores: tf.Tensor, finished: tf.Tensor, ids: tf.TensorArray, state: Any
        ) -> tf.Tensor:
            return (position < limit) & ~tf.reduce_all(finished)

        def extend(
            position: tf.Tensor, x: tf.Tensor, scores: tf.Tensor, finished: tf.Tensor, ids: tf.TensorArray, state: Any
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.TensorArray, Any]:
            x, state = body.step(x, state)
            likelihoods = tf.nn.log_softmax(net.logits(x[:, None])[:, 0])
            chosen = tf.where(finished, 0, tf.argmax(likelihoods, axis=-1, output_type=tf.int32))
            scores += tf.where(finished, 0.0, tf.gather(likelihoods, chosen, batch_dims=1))
            ids = ids.write(position, chosen)
            x = net.embed_targets(chosen[:, None])[:, 0]
            return position + 1, x, scores, finished | (chosen == END), ids, state

        start = (tf.constant(0), command, tf.zeros([batch]), tf.zeros([batch], tf.bool), ids, state)
        position, _, scores, finished, ids, _ = tf.while_loop(unfinished, extend, start)
        return Decoded(tf.transpose(ids.stack()[:position]), scores, finished)
