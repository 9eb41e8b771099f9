"""The base class of greedy search, beam search and sampling: encodes the inputs and traces the search as one graph.

Shapes: B batch, N answers per input, S input positions, L output positions at most, D hidden size, V vocabulary.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.data.vocabulary import END, PAD
from t2t_lite.modalities.image import unit_range

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
    done: tf.Tensor  # (R,): it has ended; the next compaction removes it
    ids: tf.Tensor  # (R, L)
    scores: tf.Tensor  # (R,)
    state: Any  # of Body.step, (R, ...)


def search_left_to_right(
    decoder: Decoder, net: Any, inputs: SearchInputs, choose: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
) -> Decoded:
    """Chooses one token after the other, without backtracking.

    Args:
      decoder: runs the model.
      net: the modality net of the targets.
      inputs: the encoded batch.
      choose: maps log-probabilities (R, V), the position () and the numbers of the rows (R,) to tokens (R,), int32.
    """
    body, batch, limit = decoder.model.body, tf.shape(inputs.encoded)[0], inputs.limit

    def is_over(loop: _LeftToRight) -> tf.Tensor:
        return (loop.position >= limit) | tf.reduce_all(loop.done)

    def extend(loop: _LeftToRight) -> _LeftToRight:
        log_probs, state = decoder.next_log_probs(net, loop.x, loop.state)
        tokens = tf.where(loop.done, PAD, choose(log_probs, loop.position, loop.rows))
        return _LeftToRight(
            loop.position + 1,
            loop.rows,
            net.embed_targets(tokens[:, None])[:, 0],
            loop.done | (tokens == END),
            tf.where(tf.range(limit) == loop.position, tokens[:, None], loop.ids),
            loop.scores + tf.where(loop.done, 0.0, tf.gather(log_probs, tokens, batch_dims=1)),
            state,
        )

    def compact(loop: _LeftToRight, results: tuple[tf.Tensor, ...]) -> tuple[_LeftToRight, tuple[tf.Tensor, ...]]:
        ids, scores = (
            tf.tensor_scatter_nd_update(of_all, loop.rows[:, None], of_open)
            for of_all, of_open in zip(results, (loop.ids, loop.scores), strict=True)
        )
        kept = open_rows(loop.done)
        rows, x, done, own_ids, own_scores = (tf.gather(values, kept) for values in loop[1:-1])
        state = body.select_inputs(loop.state, kept)
        return _LeftToRight(loop.position, rows, x, done, own_ids, own_scores, state), (ids, scores)

    first = _LeftToRight(
        tf.constant(0),
        tf.range(batch),
        inputs.command,
        tf.zeros([batch], tf.bool),
        tf.fill([batch, limit], PAD),
        tf.zeros([batch]),
        body.initial_state(inputs.encoded, inputs.valid, limit),
    )
    ids, scores = search_with_compaction(is_over, extend, compact, first, (first.ids, first.scores))
    used = tf.reduce_max(tf.reduce_sum(tf.cast(ids != PAD, tf.int32), axis=1))
    return Decoded(ids[:, :used], scores, tf.reduce_any(ids == END, axis=1))


def search_with_compaction(
    is_over: Callable[[Any], tf.Tensor],
    extend: Callable[[Any], Any],
    compact: Callable[[Any, Any], tuple[Any, Any]],
    first: Any,
    results: Any,
) -> Any:
    """Runs a search, and removes the inputs that are done from the batch whenever they are more than half of it.

    So inputs that are done cost little further computation, and the batch is compacted a few times only.

    Args:
      is_over: maps the loop variables, a named tuple with `done`, to whether all is done.
      extend: maps the loop variables to those after the next position.
      compact: maps the loop variables and `results` to the loop variables without the inputs that are done, and to
        `results` with all that is known now.
      first: the loop variables before the first position.
      results: arrays for the results of all inputs; all their values are overwritten.

    Returns:
      The results of all inputs.
    """
    kind = type(first)

    def is_worth_it(*loop: Any) -> tf.Tensor:
        done = kind(*loop).done
        return ~is_over(kind(*loop)) & (2 * tf.math.count_nonzero(done, dtype=tf.int32) <= tf.size(done))

    def go_on(loop: Any, results: Any) -> tuple[Any, Any]:
        loop = tf.while_loop(is_worth_it, lambda *loop: tuple(extend(kind(*loop))), tuple(loop))
        return compact(kind(*loop), results)

    return tf.while_loop(lambda loop, results: ~is_over(loop), go_on, (first, results))[1]


def open_rows(done: tf.Tensor) -> tf.Tensor:
    """The numbers of the rows that are not done: int32 (R,)."""
    return tf.cast(tf.where(~done)[:, 0], tf.int32)


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
