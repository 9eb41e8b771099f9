"""Beam search. Shapes: B batch, K beams, N answers, L the length limit, D hidden size, V vocabulary."""

from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.decoding.search import END, NEG_INF, Decoded, Decoder, SearchInputs


class _Beams(NamedTuple):
    """Hypotheses of one kind, the best first."""

    ids: tf.Tensor  # (B, K, L)
    scores: tf.Tensor  # (B, K): log-probabilities
    ranks: tf.Tensor  # (B, K): what they are ordered by


class _Search(NamedTuple):
    """What one position hands to the next."""

    position: tf.Tensor  # ()
    x: tf.Tensor  # (B K, D): the embedding of each open hypothesis' last token
    open: _Beams  # without an end token, ranked by log-probability
    closed: _Beams  # with one, ranked by penalized log-probability
    done: tf.Tensor  # (B,): nothing can change any more
    state: Any  # of Body.step, (B K, ...)


class BeamDecoder(Decoder):
    """Keeps the K likeliest hypotheses at each position, and answers with the best that ended.

    Hypotheses that ended are ranked by `log-probability / ((5 + length) / 6) ** alpha` (Wu et al., 2016), the length
    with the end token. The search for an input is over when K have ended, or when none that is open can overtake the
    answers asked for. Where fewer ended before the limit than are asked for, open ones follow, not `finished`.

    Args:
      model: a trained model.
      beam_size: K.
      alpha: of the length penalty; 0: none. The larger, the longer the answers.
      answers: N, the best of the K.
    """

    def __init__(self, model: Any, beam_size: int, alpha: float = 0.6, answers: int = 1):
        super().__init__(model)
        if not 1 <= answers <= beam_size:
            raise ValueError(f"{answers} answers of {beam_size} beams")
        self.beam_size, self.alpha, self.answers = beam_size, alpha, answers

    def search(self, net: Any, start: SearchInputs) -> Decoded:
        """All positions, in one loop."""
        batch, limit = tf.shape(start.encoded)[0], start.limit
        repeated = start.repeated(self.beam_size)
        never = tf.fill([batch, self.beam_size], NEG_INF)
        none = tf.zeros([batch, self.beam_size, limit], tf.int32)
        # All beams of an input start alike: one of them counts.
        root = tf.concat([tf.zeros([batch, 1]), never[:, 1:]], axis=1)
        first = _Search(
            tf.constant(0),
            repeated.command,
            _Beams(none, root, root),
            _Beams(none, never, never),
            tf.zeros([batch], tf.bool),
            self.model.body.initial_state(repeated.encoded, repeated.valid, limit),
        )
        last = _Search(
            *tf.while_loop(
                lambda *now: (now[0] < limit) & ~tf.reduce_all(_Search(*now).done),
                lambda *now: tuple(self._extend(net, limit, _Search(*now))),
                tuple(first),
            )
        )
        return self._answers(last)

    def _extend(self, net: Any, limit: tf.Tensor, now: _Search) -> _Search:
        """One position."""
        log_probs, state = self.next_log_probs(net, now.x, now.state)
        vocabulary = log_probs.shape[-1]
        scores = now.open.scores[:, :, None] + tf.reshape(log_probs, [-1, self.beam_size, vocabulary])
        # Twice as many as beams: should half of them end, as many go on.
        scores, places = tf.math.top_k(
            tf.reshape(scores, [-1, self.beam_size * vocabulary]), min(2, vocabulary) * self.beam_size
        )
        beams, tokens = places // vocabulary, places % vocabulary
        here = tf.range(limit) == now.position
        ids = tf.where(here, tokens[:, :, None], tf.gather(now.open.ids, beams, batch_dims=1))
        ended = tokens == END
        closed = self._close(now, ids, scores, ended)
        going_on, kept = tf.math.top_k(tf.where(ended, NEG_INF, scores), self.beam_size)
        opened = _Beams(tf.gather(ids, kept, batch_dims=1), going_on, going_on)
        beams, tokens = (tf.gather(x, kept, batch_dims=1) for x in (beams, tokens))
        x = net.embed_targets(tf.reshape(tokens, [-1, 1]))[:, 0]
        state = _reorder(now.state, state, beams)
        bound = opened.scores[:, 0] / self._penalty(limit)
        over = (closed.ranks[:, self.answers - 1] >= bound) | (closed.ranks[:, -1] > NEG_INF)
        return _Search(now.position + 1, x, opened, closed, now.done | over, state)

    def _close(self, now: _Search, ids: tf.Tensor, scores: tf.Tensor, ended: tf.Tensor) -> _Beams:
        """Adds to the hypotheses that have ended. Only the K best candidates count: with one beam, that is greedy."""
        best = slice(0, self.beam_size)
        counts = ended[:, best] & ~now.done[:, None] & (scores[:, best] > NEG_INF / 2)
        ranks = tf.where(counts, scores[:, best] / self._penalty(now.position + 1), NEG_INF)
        ranks = tf.concat([now.closed.ranks, ranks], axis=1)
        ranks, kept = tf.math.top_k(ranks, self.beam_size)  # among equals the first, which has been there
        scores = tf.concat([now.closed.scores, tf.where(counts, scores[:, best], NEG_INF)], axis=1)
        ids = tf.concat([now.closed.ids, ids[:, best]], axis=1)
        return _Beams(tf.gather(ids, kept, batch_dims=1), tf.gather(scores, kept, batch_dims=1), ranks)

    def _penalty(self, length: tf.Tensor) -> tf.Tensor:
        return ((5.0 + tf.cast(length, tf.float32)) / 6.0) ** self.alpha

    def _answers(self, last: _Search) -> Decoded:
        """The best that ended, then open ones."""
        ended = last.closed.ranks > NEG_INF
        ids, scores = (tf.concat([getattr(last.closed, k), getattr(last.open, k)], axis=1) for k in ("ids", "scores"))
        finished = tf.concat([ended, tf.zeros_like(ended)], axis=1)
        missing = tf.concat([~ended, tf.zeros_like(ended)], axis=1)
        order = tf.argsort(tf.cast(missing, tf.int32), axis=1, stable=True)[:, : self.answers]
        ids, scores, finished = (tf.gather(x, order, batch_dims=1) for x in (ids, scores, finished))
        used = tf.reduce_max(tf.where(ids != 0, 1 + tf.range(tf.shape(ids)[2]), 0))
        rows = tf.shape(ids)[0] * self.answers
        ids = tf.reshape(ids, [rows, -1])[:, :used]
        return Decoded(ids, tf.reshape(scores, [rows]), tf.reshape(finished, [rows]))


def _reorder(before: Any, after: Any, beams: tf.Tensor) -> Any:
    """The state of the hypotheses that go on.

    What a step hands on untouched, such as the keys of the source, is the same for all beams of an input; and the
    position for all inputs.

    Args:
      before: the state that the step was given.
      after: the state that it returned.
      beams: (B, K), from which beam of the input each continues.
    """
    size = beams.shape[1]
    rows = tf.reshape(tf.range(tf.shape(beams)[0])[:, None] * size + beams, [-1])
    return tf.nest.map_structure(
        lambda old, new: new if new is old or new.shape.rank == 0 else tf.gather(new, rows), before, after
    )
