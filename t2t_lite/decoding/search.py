"""The base class of greedy search, beam search and sampling: encodes the inputs and traces the search as one graph.

Shapes: B batch, N answers per input, S input positions, L output positions at most, D hidden size, V vocabulary.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.modalities.image import unit_range

PAD, END = 0, 1  # the ids of padding and of the end token in every vocabulary
NEG_INF = -1e30  # the log-probability of an impossible token or hypothesis


class Decoded(NamedTuple):
    """Decoded token ids, with the end token. The N rows of an input are adjacent, the best first."""

    ids: tf.Tensor  # (B N, L), 0 after the end token
    scores: tf.Tensor  # (B N,): log-probability of the output under the model, in nats
    finished: tf.Tensor  # (B N,): whether the end token came before the limit


class SearchInputs(NamedTuple):
    """The encoded inputs of a search."""

    encoded: tf.Tensor  # (B, S, D)
    valid: tf.Tensor  # (B, S)
    command: tf.Tensor  # (B, D)
    limit: tf.Tensor  # (): tokens of an answer at most
    fingerprints: tf.Tensor  # (B,): a hash of each input, which does not depend on the rest of the batch

    def repeated(self, times: int) -> "SearchInputs":
        """Repeats each row `times` times; the copies are adjacent."""
        rows = ("encoded", "valid", "command", "fingerprints")
        return self._replace(**{name: tf.repeat(getattr(self, name), times, axis=0) for name in rows})


class Decoder:
    """Decodes batches of inputs. Subclasses implement `search`.

    Args:
      model: a trained model.
    """

    answers = 1  # N, answers per input

    def __init__(self, model: Any):
        self.model = model
        self._searches: dict[str, Any] = {}  # {target net: traced search}

    def __call__(self, problem: str, batch: Mapping[str, tf.Tensor], max_length: int) -> Decoded:
        """Decodes a batch of inputs into at most max_length tokens each."""
        net = self.model.net(self.model.problems[problem].targets)
        encoded, _ = self.model.encode(problem, batch)
        command = self.model.command(problem, tf.shape(encoded.x)[0])
        inputs = SearchInputs(encoded.x, encoded.valid, command, tf.constant(max_length), fingerprints(batch))
        if net.name not in self._searches:
            search = tf.function(lambda inputs: self.search(net, inputs), input_signature=[_signature(inputs)])
            self._searches[net.name] = search
        return Decoded(*self._searches[net.name](inputs))

    def search(self, net: Any, inputs: SearchInputs) -> Decoded:
        """Searches for the answers, in graph mode.

        Args:
          net: the modality net of the targets.
          inputs: the encoded batch.
        """
        raise NotImplementedError

    def next_log_probs(self, net: Any, x: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Runs the model for one position; padding gets the log-probability NEG_INF.

        Args:
          net: the modality net of the targets.
          x: (B, D), the embedding of the previous token.
          state: the decoding state before this position.

        Returns:
          The log-probabilities (B, V) of the next token, and the state after this position.
        """
        x, state = self.model.body.step(x, state)
        log_probs = tf.nn.log_softmax(net.logits(x[:, None])[:, 0])
        return tf.where(tf.range(log_probs.shape[-1]) == PAD, NEG_INF, log_probs), state


class _LeftToRight(NamedTuple):
    """The loop variables of `search_left_to_right`; R rows are open."""

    position: tf.Tensor  # ()
    rows: tf.Tensor  # (R,): the numbers of the open rows
    x: tf.Tensor  # (R, D): the embedding of each one's last token
    ended: tf.Tensor  # (R,): it has ended, and leaves with the next that do
    ids: tf.Tensor  # (B, L)
    scores: tf.Tensor  # (B,)
    state: Any  # of Body.step, (R, ...)


def search_left_to_right(
    decoder: Decoder, net: Any, inputs: SearchInputs, choose: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
) -> Decoded:
    """Chooses one token after the other, without backtracking.

    Rows that have ended leave the batch when they are more than half of it: the others then take less time.

    Args:
      decoder: runs the model.
      net: the modality net of the targets.
      inputs: the encoded batch.
      choose: maps log-probabilities (R, V), the position () and the numbers of the rows (R,) to tokens (R,), int32.
    """
    body, batch, limit = decoder.model.body, tf.shape(inputs.encoded)[0], inputs.limit

    def is_over(loop: _LeftToRight) -> tf.Tensor:
        return (loop.position >= limit) | tf.reduce_all(loop.ended)

    def extend(loop: _LeftToRight) -> _LeftToRight:
        """Adds a token to all open rows."""
        log_probs, state = decoder.next_log_probs(net, loop.x, loop.state)
        tokens = tf.where(loop.ended, PAD, choose(log_probs, loop.position, loop.rows))
        gained = tf.where(loop.ended, 0.0, tf.gather(log_probs, tokens, batch_dims=1))
        places = tf.stack([loop.rows, tf.fill(tf.shape(loop.rows), loop.position)], axis=1)
        return _LeftToRight(
            loop.position + 1,
            loop.rows,
            net.embed_targets(tokens[:, None])[:, 0],
            loop.ended | (tokens == END),
            tf.tensor_scatter_nd_update(loop.ids, places, tokens),
            tf.tensor_scatter_nd_add(loop.scores, loop.rows[:, None], gained),
            state,
        )

    def leave(loop: _LeftToRight) -> _LeftToRight:
        """Leaves only the rows that have not ended."""
        kept = tf.cast(tf.where(~loop.ended)[:, 0], tf.int32)
        rows, x, ended = (tf.gather(values, kept) for values in (loop.rows, loop.x, loop.ended))
        return loop._replace(rows=rows, x=x, ended=ended, state=body.select_inputs(loop.state, kept))

    def extend_until_most_have_ended(loop: _LeftToRight) -> _LeftToRight:
        def is_worth_it(loop: _LeftToRight) -> tf.Tensor:
            return ~is_over(loop) & (2 * tf.math.count_nonzero(loop.ended, dtype=tf.int32) <= tf.size(loop.ended))

        return _while(is_worth_it, extend, loop)

    first = _LeftToRight(
        tf.constant(0),
        tf.range(batch),
        inputs.command,
        tf.zeros([batch], tf.bool),
        tf.fill([batch, limit], PAD),
        tf.zeros([batch]),
        body.initial_state(inputs.encoded, inputs.valid, limit),
    )
    first = extend_until_most_have_ended(first)
    last = _while(lambda loop: ~is_over(loop), lambda loop: extend_until_most_have_ended(leave(loop)), first)
    return Decoded(last.ids[:, : last.position], last.scores, tf.reduce_any(last.ids == END, axis=1))


def _while(condition: Callable[[Any], tf.Tensor], body: Callable[[Any], Any], loop: Any) -> Any:
    """tf.while_loop over a named tuple."""
    kind = type(loop)
    return kind(
        *tf.while_loop(lambda *loop: condition(kind(*loop)), lambda *loop: tuple(body(kind(*loop))), tuple(loop))
    )


def _signature(inputs: SearchInputs) -> SearchInputs:
    """The tensor specs of all batches and lengths, so that the search is traced once."""
    size = inputs.encoded.shape[-1]  # D
    shapes = SearchInputs([None, None, size], [None, None], [None, size], [], [None])
    return SearchInputs(*(tf.TensorSpec(shape, x.dtype) for shape, x in zip(shapes, inputs, strict=True)))


def fingerprints(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """int64 (B,): a hash of each row's inputs, which does not depend on its padding with zeros."""
    if "inputs" in batch:
        return _fingerprint(batch["inputs"])
    keys = itertools.takewhile(batch.__contains__, (f"inputs_{number}" for number in itertools.count()))
    return tf.add_n([(2 * number + 1) * _fingerprint(batch[key]) for number, key in enumerate(keys)])


def _fingerprint(inputs: tf.Tensor) -> tf.Tensor:
    """(B, ...) -> int64 (B,)."""
    inputs = unit_range(inputs)
    bits = tf.cast(inputs if inputs.dtype == tf.int32 else tf.bitcast(inputs, tf.int32), tf.int64)
    bits = tf.reshape(bits, [tf.shape(bits)[0], -1])
    place = tf.range(tf.shape(bits)[1], dtype=tf.int64)
    return tf.reduce_sum(bits * (1 + place * 40503 % 32768), axis=1)
