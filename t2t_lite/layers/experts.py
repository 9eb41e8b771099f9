"""The mixture of experts (paper, section 2.4; Shazeer et al. 2017, "Outrageously large neural networks").

The layer returns each expert's importance and load, not the balancing losses: these losses are not linear, so a batch
split over replicas must sum importance and load over all slices first (`balancing_loss`).

Shapes: B batch, S input positions, N = B * S, D hidden, E experts, k experts per position, F filter size.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.layers.full_precision import product
from t2t_lite.layers.grouped_feed_forward import grouped_feed_forward
from t2t_lite.layers.layer import Layer
from t2t_lite.layers.noise import layer_seed

# A pass of the loop over experts takes about as long as this many multiplications (two cores).
_PRODUCTS_PER_LOOP = 1_500_000


class MixtureOfExperts(Layer):
    """E feed-forward experts; noisy top-k gating sends each position to k of them (paper, section 2.4).

        h(x) = x Wg + standard normal * (softplus(x Wnoise) + 0.01)  (noise in training only)
        gates = softmax over the k largest of h(x), zero elsewhere
        y = sum over the k experts of gate * (ReLU(x W1) W2)

    No position is dropped, however many choose the same expert. Padding is sent to no expert; its output is zero.

    Args:
      hidden_size: D.
      filter_size: F.
      num_experts: E.
      experts_per_position: k.
      gating_noise: False switches the noise off in training too.
    """

    def __init__(
        self,
        hidden_size: int,
        filter_size: int,
        num_experts: int,
        experts_per_position: int,
        *,
        gating_noise: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_experts, self.k, self.gating_noise = num_experts, experts_per_position, gating_noise

        self.watch: Callable[[tf.Tensor], None] | None = None  # called with the chosen experts (B, S, k)

        def normal(fan_in: int, gain: float = 1.0) -> keras.initializers.Initializer:
            return keras.initializers.RandomNormal(stddev=(gain / fan_in) ** 0.5)

        shape = (hidden_size, num_experts)
        # The router is float32: in bfloat16 training diverges (Switch Transformer, section 2.4).
        self.gate = self.add_weight(name="gate", shape=shape, initializer=normal(hidden_size, 0.01), autocast=False)
        self.noise_scale = self.add_weight(name="noise_scale", shape=shape, initializer="zeros", autocast=False)
        # Not cast as a whole to the compute type: that would copy all experts for the few that a small batch chooses.
        self.expand = self.add_weight(
            name="expand",
            shape=(num_experts, hidden_size, filter_size),
            initializer=normal(hidden_size, 2.0),
            autocast=False,
        )
        self.contract = self.add_weight(
            name="contract",
            shape=(num_experts, filter_size, hidden_size),
            initializer=normal(filter_size),
            autocast=False,
        )

    def call(
        self, x: tf.Tensor, valid: tf.Tensor | None = None, noise: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs each position through its k experts.

        Args:
          x: (B, S, D).
          valid: (B, S), False at padding; None if there is no padding.
          noise: the seed (2,) of layers/noise.py, None outside training.

        Returns:
          y (B, S, D), and sums over positions (3, E): each expert's importance (sum of its gates), load (sum of the
          probabilities that it is chosen) and count of the positions that it processed.
        """
        positions = tf.reshape(x, [-1, x.shape[-1]])  # (N, D)
        valid = tf.ones([tf.shape(positions)[0]], tf.bool) if valid is None else tf.reshape(valid, [-1])
        noise = noise if self.gating_noise else None
        chosen, gates, importance, load = self._route(tf.cast(positions, tf.float32), valid, noise)
        if self.watch:
            self.watch(tf.reshape(chosen, tf.concat([tf.shape(x)[:-1], [self.k]], 0)))
        y, served = self._run_experts(positions, chosen, tf.cast(gates, x.dtype), valid)
        return tf.reshape(y, tf.shape(x)), tf.stack([importance, load, served])

    def step(self, x: tf.Tensor) -> tf.Tensor:
        """The output of `call` for one position of each example, as decoding needs it: (B, D) -> (B, D)."""
        rows = tf.shape(x)[0]
        run_all = (self.num_experts <= rows * self.k) & (rows <= self._rows_for_all)
        return tf.cond(run_all, lambda: self._run_all(x), lambda: self(x[:, None])[0][:, 0])

    @property
    def _rows_for_all(self) -> int:
        """The rows up to which running all experts in one product takes less time than a loop over the chosen ones."""
        more = max(self.num_experts - self.k, 1) * self.expand.shape[1] * self.expand.shape[2]  # products for a row
        return int(_PRODUCTS_PER_LOOP * self.num_experts / more)

    def _run_all(self, x: tf.Tensor) -> tf.Tensor:
        """Runs all experts over all rows, and weighs them by their gates, most of which are zero: (B, D) -> (B, D)."""
        best = tf.math.top_k(product(tf.cast(x, tf.float32), tf.convert_to_tensor(self.gate)), self.k)
        gates = tf.nn.softmax(best.values)[:, :, None] * tf.one_hot(best.indices, self.num_experts)  # (B, k, E)
        gates = tf.cast(tf.reduce_sum(gates, axis=1), x.dtype)
        expand, contract = (tf.cast(weight, x.dtype) for weight in (self.expand, self.contract))
        hidden = tf.nn.relu(tf.matmul(x[None], expand)) * tf.transpose(gates)[:, :, None]  # (E, B, F)
        return tf.reduce_sum(tf.matmul(hidden, contract), axis=0)

    def _route(self, x: tf.Tensor, valid: tf.Tensor, noise: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        """Noisy top-k gating: (N, D) -> chosen experts (N, k), their gates (N, k), importance (E,), load (E,)."""
        clean = product(x, tf.convert_to_tensor(self.gate))
        scores = clean
        if noise is not None:
            deviation = tf.nn.softplus(product(x, tf.convert_to_tensor(self.noise_scale))) + 1e-2
            normal = tf.random.stateless_normal(tf.shape(clean), layer_seed(noise, self.name))
            scores = clean + normal * deviation
        # int64: TensorFlow computes with int32 on the host, so that a GPU would copy indices there and back.
        best = tf.cast(tf.math.top_k(tf.stop_gradient(scores), min(self.k + 1, self.num_experts)).indices, tf.int64)
        # Gathered, because the gradient of top_k computes its indices in int32.
        rows = tf.shape(scores)[0]
        with tf.device("CPU:0"):
            first = tf.cast(tf.range(rows) * self.num_experts, tf.int64)  # of each row, in the flat scores
        top_scores = tf.gather(tf.reshape(scores, [-1]), best + first[:, None])  # (N, k + 1)
        chosen = best[:, : self.k]
        gates = tf.nn.softmax(top_scores[:, : self.k]) * tf.cast(valid, tf.float32)[:, None]
        importance = tf.math.unsorted_segment_sum(tf.reshape(gates, [-1]), tf.reshape(chosen, [-1]), self.num_experts)
        load = tf.zeros_like(importance)  # without noise: equal loads, whose loss is zero
        if noise is not None and self.k < self.num_experts:
            # P(x, i), the probability that expert i is among the k largest if only its own noise is drawn again.
            is_chosen = tf.reduce_max(tf.one_hot(chosen, self.num_experts), axis=1) > 0
            threshold = tf.where(is_chosen, top_scores[:, self.k : self.k + 1], top_scores[:, self.k - 1 : self.k])
            probability = 0.5 * (1.0 + tf.math.erf((clean - threshold) / (deviation * 2.0**0.5)))
            load = tf.squeeze(product(tf.cast(valid, tf.float32)[None], probability), 0)
        return chosen, gates, importance, load

    def _run_experts(
        self, x: tf.Tensor, chosen: tf.Tensor, gates: tf.Tensor, valid: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sorts the positions by expert, runs each expert over its own, adds the results up by position.

        Returns:
          The output (N, D), and the number of positions that each expert processed (E,).
        """
        experts = self.num_experts
        # Padding is assigned to an extra expert, number E, whose positions come last and are cut off.
        assigned = tf.reshape(tf.where(valid[:, None], chosen, tf.constant(experts, tf.int64)), [-1])  # (N k)
        ones = tf.ones(tf.shape(assigned))
        served = tf.math.unsorted_segment_sum(ones, assigned, experts + 1)[:experts]
        with tf.device("CPU:0"):
            # The one copy from a GPU: loops and slices read their bounds on the host.
            counts = tf.cast(served, tf.int32)
            total = tf.reduce_sum(counts)
        order = tf.cast(tf.argsort(assigned, stable=True), tf.int64)[:total]  # (M,), M = valid positions times k
        positions = order // self.k
        weights = tf.convert_to_tensor(self.expand), tf.convert_to_tensor(self.contract)
        outputs = grouped_feed_forward(tf.gather(x, positions), *weights, counts)  # (M, D)
        weighted = outputs * tf.gather(tf.reshape(gates, [-1]), order)[:, None]
        return tf.math.unsorted_segment_sum(weighted, positions, tf.shape(x)[0]), served


@contextlib.contextmanager
def watch_experts(layers: Mapping[str, MixtureOfExperts]) -> Iterator[dict[str, tf.Tensor]]:
    """Collects the experts chosen in calls inside: {name: (B, S, k)}, of the last call of each layer, padding included.

    The layers must be called eagerly, or inside a tf.function that is traced inside the context.
    """
    seen: dict[str, tf.Tensor] = {}
    for name, layer in layers.items():
        layer.watch = functools.partial(seen.__setitem__, name)
    try:
        yield seen
    finally:
        for layer in layers.values():
            layer.watch = None


def balancing_loss(sums: tf.Tensor) -> tf.Tensor:
    """The sum of both balancing losses: the squared coefficients of variation of importance and of load.

    Args:
      sums: (..., 3, E) of one or more MixtureOfExperts layers, summed over the whole batch.

    Returns:
      A scalar, zero if all experts have equal importance and equal load.
    """
    mean, variance = tf.nn.moments(sums[..., :2, :], axes=[-1])
    return tf.reduce_sum(variance / (mean**2 + 1e-10))
