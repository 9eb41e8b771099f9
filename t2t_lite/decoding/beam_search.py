"""Beam search. Shapes: B batch, K beams, N answers per input, L length limit, D hidden size, V vocabulary."""

from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.decoding.search import END, NEG_INF, Decoded, Decoder, SearchInputs, open_rows, search_with_compaction


class _Beams(NamedTuple):
    """K hypotheses per input, the best first."""

    ids: tf.Tensor  # (B, K, L)
    scores: tf.Tensor  # (B, K): log-probabilities
    ranks: tf.Tensor  # (B, K): the keys of the order


class _Search(NamedTuple):
    """The loop variables; R of the B inputs are still searched for."""

    position: tf.Tensor  # ()
    inputs: tf.Tensor  # (R,): their numbers
    x: tf.Tensor  # (R K, D): the embedding of each open hypothesis' last token
    open: _Beams  # without an end token, ranked by log-probability
    closed: _Beams  # with an end token, ranked by log-probability / length penalty
    done: tf.Tensor  # (R,): the search for this input is over; the next compaction removes it
    state: Any  # of Body.step, (R K, ...)


class BeamDecoder(Decoder):
    """Keeps the K most probable hypotheses at each position and returns the N best that ended.

    Ended hypotheses are ranked by `log-probability / ((5 + length) / 6) ** alpha` (Wu et al., 2016); the length closes
    the end token. The search for an input stops when K hypotheses have ended, or when no open one can overtake the N
    best. If fewer than N ended before the length limit, open hypotheses follow, which are not `finished`.

    Args:
      model: a trained model.
      beam_size: K.
      alpha: the exponent of the length penalty; 0: no penalty. Larger values favour longer answers.
      answers: N, at most K.
    """

    def __init__(self, model: Any, beam_size: int, alpha: float = 0.6, answers: int = 1):
        super().__init__(model)
        if not 1 <= answers <= beam_size:
            raise ValueError(f"{answers} answers of {beam_size} beams")
        self.beam_size, self.alpha, self.answers = beam_size, alpha, answers

    def search(self, net: Any, inputs: SearchInputs) -> Decoded:
        """See Decoder.search."""
        batch, limit = tf.shape(inputs.encoded)[0], inputs.limit
        masked = tf.fill([batch, self.beam_size], NEG_INF)
        no_ids = tf.zeros([batch, self.beam_size, limit], tf.int32)
        # The K beams of an input start equal, so that all but the first are masked.
        root = tf.concat([tf.zeros([batch, 1]), masked[:, 1:]], axis=1)
        first = _Search(
            tf.constant(0),
            tf.range(batch),
            tf.repeat(inputs.command, self.beam_size, axis=0),
            _Beams(no_ids, root, root),
            _Beams(no_ids, masked, masked),
            tf.zeros([batch], tf.bool),
            self.model.body.initial_state(inputs.encoded, inputs.valid, limit, self.beam_size),
        )

        def is_over(loop: _Search) -> tf.Tensor:
            return (loop.position >= limit) | tf.reduce_all(loop.done)

        last = search_with_compaction(
            is_over,
            lambda loop: self._extend(net, limit, loop),
            self._compact,
            first,
            {"open": first.open, "closed": first.closed},
        )
        return self._answers(last)

    def _compact(self, loop: _Search, results: dict[str, _Beams]) -> tuple[_Search, dict[str, _Beams]]:
        """Writes the hypotheses of all inputs into `results`, and leaves only the inputs whose search goes on."""
        indices = loop.inputs[:, None]
        now = {"open": loop.open, "closed": loop.closed}
        results = tf.nest.map_structure(lambda old, new: tf.tensor_scatter_nd_update(old, indices, new), results, now)
        kept = open_rows(loop.done)
        rows = tf.reshape(kept[:, None] * self.beam_size + tf.range(self.beam_size), [-1])
        inputs, opened, closed, done = tf.nest.map_structure(
            lambda values: tf.gather(values, kept), (loop.inputs, loop.open, loop.closed, loop.done)
        )
        state = self.model.body.select_inputs(loop.state, kept, self.beam_size)
        return _Search(loop.position, inputs, tf.gather(loop.x, rows), opened, closed, done, state), results

    def _extend(self, net: Any, limit: tf.Tensor, loop: _Search) -> _Search:
        """Extends all open hypotheses by one token."""
        log_probs, state = self.next_log_probs(net, loop.x, loop.state)
        vocabulary = log_probs.shape[-1]
        scores = loop.open.scores[:, :, None] + tf.reshape(log_probs, [-1, self.beam_size, vocabulary])
        # 2 K candidates: even if the best K end, K remain open.
        scores, flat = tf.math.top_k(
            tf.reshape(scores, [-1, self.beam_size * vocabulary]), min(2, vocabulary) * self.beam_size
        )
        beams, tokens = flat // vocabulary, flat % vocabulary
        here = tf.range(limit) == loop.position
        ids = tf.where(here, tokens[:, :, None], tf.gather(loop.open.ids, beams, batch_dims=1))
        ended = tokens == END
        closed = self._close(loop, ids, scores, ended)
        open_scores, kept = tf.math.top_k(tf.where(ended, NEG_INF, scores), self.beam_size)
        opened = _Beams(tf.gather(ids, kept, batch_dims=1), open_scores, open_scores)
        beams, tokens = (tf.gather(x, kept, batch_dims=1) for x in (beams, tokens))
        x = net.embed_targets(tf.reshape(tokens, [-1, 1]))[:, 0]
        rows = tf.reshape(tf.range(tf.shape(beams)[0])[:, None] * self.beam_size + beams, [-1])
        state = self.model.body.select_beams(state, rows)
        bound = opened.scores[:, 0] / self._penalty(limit)  # the best rank that an open hypothesis can reach
        done = (closed.ranks[:, self.answers - 1] >= bound) | (closed.ranks[:, -1] > NEG_INF)
        return _Search(loop.position + 1, loop.inputs, x, opened, closed, loop.done | done, state)

    def _close(self, loop: _Search, ids: tf.Tensor, scores: tf.Tensor, ended: tf.Tensor) -> _Beams:
        """Merges the candidates that end here into the closed hypotheses.

        Only the K best candidates may end, so that one beam equals greedy search.
        """
        best = slice(0, self.beam_size)
        closes = ended[:, best] & ~loop.done[:, None] & (scores[:, best] > NEG_INF / 2)
        ranks = tf.where(closes, scores[:, best] / self._penalty(loop.position + 1), NEG_INF)
        ranks = tf.concat([loop.closed.ranks, ranks], axis=1)
        ranks, kept = tf.math.top_k(ranks, self.beam_size)  # of equal ranks the older comes first
        scores = tf.concat([loop.closed.scores, tf.where(closes, scores[:, best], NEG_INF)], axis=1)
        ids = tf.concat([loop.closed.ids, ids[:, best]], axis=1)
        return _Beams(tf.gather(ids, kept, batch_dims=1), tf.gather(scores, kept, batch_dims=1), ranks)

    def _penalty(self, length: tf.Tensor) -> tf.Tensor:
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** self.alpha

    def _answers(self, last: dict[str, _Beams]) -> Decoded:
        """The N best: ended hypotheses, then open ones."""
        closed, opened = last["closed"], last["open"]
        ended = closed.ranks > NEG_INF
        ids, scores = (tf.concat([getattr(closed, k), getattr(opened, k)], axis=1) for k in ("ids", "scores"))
        finished = tf.concat([ended, tf.zeros_like(ended)], axis=1)
        missing = tf.concat([~ended, tf.zeros_like(ended)], axis=1)
        order = tf.argsort(tf.cast(missing, tf.int32), axis=1, stable=True)[:, : self.answers]
        ids, scores, finished = (tf.gather(x, order, batch_dims=1) for x in (ids, scores, finished))
        used = tf.reduce_max(tf.where(ids != 0, 1 + tf.range(tf.shape(ids)[2]), 0))
        rows = tf.shape(ids)[0] * self.answers
        ids = tf.reshape(ids, [rows, -1])[:, :used]
        return Decoded(ids, tf.reshape(scores, [rows]), tf.reshape(finished, [rows]))
