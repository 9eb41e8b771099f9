"""Runs attention for one target position after the other, as decoding does.

Keys and values are kept as (B, H, K, L, D / H), which tf.matmul reads without a transpose. With several beams those of
an input lie side by side: a hypothesis does not take the keys of its past along when beams are reordered, but remembers
in which beam each of its positions was stored, and attends to the positions of all beams under a mask. Copying all keys
at each position took a sixth of the time of beam search.

Shapes: B inputs, K beams of each, S source positions, L target positions that there is room for, D hidden, H heads.
"""

from typing import Any

import tensorflow as tf

from t2t_lite.layers.attention import MultiHeadAttention
from t2t_lite.layers.in_place import empty_buffer, write_rows


def initial_state(
    self_attention: MultiHeadAttention,
    source_attention: MultiHeadAttention,
    source: tf.Tensor,
    valid: tf.Tensor,
    max_length: tf.Tensor,
    beams: int = 1,
) -> dict[str, Any]:
    """The state of an attention to past outputs and one to the source, before the first position.

    Args:
      self_attention: attends to past outputs.
      source_attention: attends to the source.
      source: (B, S, D).
      valid: (B, S), False at padding.
      max_length: L.
      beams: K.

    Returns:
      keys, values: of past outputs: (B, H, K, L, D / H).
      source_keys, source_values: (B, H, S, D / H).
      source_allowed: (B, 1, 1, S).
      stored_in: the beam in which each past position of a hypothesis is stored: int32 (B, K, L); absent with one beam.
    """
    batch, heads, size = tf.shape(source)[0], self_attention.num_heads, self_attention.head_size
    dtype = tf.as_dtype(self_attention.compute_dtype)
    keys, values = (tf.transpose(x, [0, 2, 1, 3]) for x in source_attention.project_memory(source))
    state = {
        "keys": empty_buffer([batch, heads, beams, max_length, size], dtype),
        "values": empty_buffer([batch, heads, beams, max_length, size], dtype),
        "source_keys": keys,
        "source_values": values,
        "source_allowed": valid[:, None, None, :],
    }
    if beams > 1:
        state["stored_in"] = tf.zeros([batch, beams, max_length], tf.int32)
    return state


def attend_to_past(
    attention: MultiHeadAttention, x: tf.Tensor, state: dict[str, Any], position: tf.Tensor
) -> tuple[tf.Tensor, dict[str, Any]]:
    """Causal self-attention of one position: (B K, D), state -> (B K, D), the state with this position."""
    batch, heads, _, length, _ = tf.unstack(tf.shape(state["keys"]))
    beams, size = _beams(state), attention.head_size
    indices = tf.range(batch * heads * beams) * length + position  # of this position, in the order B, H, K
    following = dict(state)
    memory: list[tf.Tensor] = []
    for name, weight in (("keys", attention.key), ("values", attention.value)):
        rows = tf.reshape(_heads_of_beams(attention, x, weight, beams), [-1, size])
        written = write_rows(tf.reshape(state[name], [-1, size]), indices, rows)
        following[name] = tf.ensure_shape(tf.reshape(written, tf.shape(state[name])), state[name].shape)
        # Answers are mostly shorter than there is room for: copying the past costs less than attending to all indices.
        past = tf.reshape(written, [batch * heads * beams, length, size])[:, : position + 1]
        memory.append(tf.reshape(past, [batch, heads, beams * (position + 1), size]))
    allowed = tf.ones([], tf.bool)
    if beams > 1:
        numbers = tf.range(beams)
        stored_in = tf.where(tf.range(length) == position, numbers[:, None], state["stored_in"])
        is_own = stored_in[:, :, None, : position + 1] == numbers[:, None]  # (B, K of the query, K, past)
        allowed = tf.reshape(is_own, [batch, 1, beams, beams * (position + 1)])
        following["stored_in"] = stored_in
    keys, values = memory
    return _attend(attention, x, keys, values, allowed, beams), following


def attend_to_source(attention: MultiHeadAttention, x: tf.Tensor, state: dict[str, Any]) -> tf.Tensor:
    """Attention to the source from one position: (B K, D) -> (B K, D)."""
    keys, values, allowed = (state[f"source_{name}"] for name in ("keys", "values", "allowed"))
    return _attend(attention, x, keys, values, allowed, _beams(state))


def select_beams(state: dict[str, Any], rows: tf.Tensor) -> dict[str, Any]:
    """The state in which each hypothesis goes on from row `rows` (B K,), a hypothesis of the same input."""
    if "stored_in" not in state:
        return state
    stored_in = state["stored_in"]
    of_rows = tf.gather(tf.reshape(stored_in, [-1, tf.shape(stored_in)[2]]), rows)
    return state | {"stored_in": tf.reshape(of_rows, tf.shape(stored_in))}


def select_inputs(state: dict[str, Any], inputs: tf.Tensor) -> dict[str, Any]:
    """The state of the inputs of these numbers (B',) alone."""
    return {name: tf.gather(x, inputs) for name, x in state.items()}


def _beams(state: dict[str, Any]) -> int:
    return state["keys"].shape[2]


def _heads_of_beams(attention: MultiHeadAttention, x: tf.Tensor, weight: tf.Tensor, beams: int) -> tf.Tensor:
    """(B K, D) by (D, D) -> (B, H, K, D / H)."""
    projected = tf.matmul(x, tf.cast(weight, x.dtype))
    if beams == 1:
        return tf.reshape(projected, [-1, attention.num_heads, 1, attention.head_size])
    return tf.transpose(tf.reshape(projected, [-1, beams, attention.num_heads, attention.head_size]), [0, 2, 1, 3])


def _attend(
    attention: MultiHeadAttention, x: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, allowed: tf.Tensor, beams: int
) -> tf.Tensor:
    """Queries (B K, D), keys and values (B, H, S, D / H), allowed, broadcast to (B, H, K, S) -> (B K, D)."""
    queries = _heads_of_beams(attention, x, attention.query, beams) * attention.head_size**-0.5
    scores = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32)
    weights = tf.nn.softmax(tf.where(allowed, scores, -1e9))
    mixed = tf.matmul(tf.cast(weights, x.dtype), values)  # (B, H, K, D / H)
    if beams > 1:
        mixed = tf.transpose(mixed, [0, 2, 1, 3])
    return tf.matmul(tf.reshape(mixed, [-1, x.shape[-1]]), tf.cast(attention.out, x.dtype))
