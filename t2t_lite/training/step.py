"""One training step over all replicas: forward pass, backward pass, all-reduce, update."""

import contextlib
import functools
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from t2t_lite.data.batch_shards import blank_batch, shard_batch
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import DivergedError
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.layers.noise import step_seed
from t2t_lite.modalities.modality import cross_entropy
from t2t_lite.progress import print_status
from t2t_lite.runs.memory import explain_out_of_memory, smaller_batch, smaller_model
from t2t_lite.training.devices import Devices
from t2t_lite.training.loss_scale import LossScale
from t2t_lite.training.memory_estimate import Trained, heaviest_shapes, shapes
from t2t_lite.training.schedule import learning_rate

Batch = Mapping[str, tf.Tensor]
_SHOWN_EXAMPLES = 20  # example numbers that the message on a batch lists at most


class _Forward(NamedTuple):
    """The results of a forward pass over a shard of a batch, with the tape for its backward pass."""

    tape: tf.GradientTape
    loss: tf.Tensor  # scalar, summed over targets
    log_perplexity: tf.Tensor  # scalar, summed over targets, without label smoothing
    right: tf.Tensor  # scalar, the number of targets predicted right
    expert_sums: tf.Tensor  # (layers, 3, E)


class TrainStep:
    """Trains one batch of one problem at a time. Each worker may be given only its part of the batch.

        train_step = TrainStep(open_devices(), [(model, optimizer)])
        figures = train_step("reverse", batch, 0)

    A batch is split into shards, `accumulate_steps` (micro-batches) for each replica. The loss is divided by the number
    of targets of the whole batch, the balancing losses are computed over the whole batch, and gradients are summed over
    the shards before they are clipped. So the update does not depend on the number of shards, except for noise, which
    each shard draws for itself.

    A step whose loss or gradient is not finite is skipped: it changes no weights and moments, but counts as a step.

    Args:
      devices: the replicas' devices.
      copies: the model and the optimizer of each local replica.

    Attributes:
      log: called with each message for the user.
      expert_sums: MixtureOfExperts's sums over the last batch (layers, 3, E).
    """

    def __init__(self, devices: Devices, copies: Sequence[tuple[Any, Any]]):
        self.devices = devices
        self.log: Callable[[str], None] = print_status
        self.expert_sums = np.zeros([0, 3, 0])
        self._models = [model for model, _ in copies]
        self._optimizers = [optimizer for _, optimizer in copies]
        self._hparams = self._models[0].hparams
        for model, optimizer in copies[1:]:
            optimizer.share_traces(self._optimizers[0])
            if hasattr(model, "share_traces"):  # a user's own model may be without
                model.share_traces(self._models[0])
        for optimizer in self._optimizers:
            optimizer.guard = LossScale(self._hparams)  # the name is a checkpoint key
        self._loss_scale: LossScale = self._optimizers[0].guard
        self._tracing, self._traced = threading.Lock(), set[tuple[str, str, int]]()

    @property
    def unscalable_skips(self) -> int:
        """The steps that this process skipped, without those after which the loss scale was halved."""
        return self._loss_scale.unscalable

    def broadcast(self) -> int:
        """Copies the first replica's weights and optimizer state to all replicas; returns the number of steps done."""
        pairs = zip(self._models, self._optimizers, strict=True)
        self.devices.broadcast([[*(v.value for v in m.variables), *o.variables] for m, o in pairs])
        return int(self._optimizers[0].step)

    def __call__(self, problem: str, batch: Batch, step: int) -> dict[str, Any]:
        """Trains step number `step`, from 0.

        Returns:
          tokens (the number of targets) and skipped (1 if the step was skipped, else 0). If it was not skipped, also
          loss (nats per target), log_perplexity (the loss without label smoothing), accuracy, balance (the balancing
          losses) and gradient_norm (before clipping); with experts, also expert_load ({layer: the number of positions
          that each expert served (E,)}).

        Raises:
          UserError: memory does not suffice, another worker has ended, or max_bad_steps steps in a row were skipped.
        """
        with tf.device("CPU:0"):  # where batches are
            tokens = float(tf.reduce_sum(self._models[0].target_weights(problem, batch)))
        if "part" in batch:
            tokens = self.devices.add_up(tokens)
        rate, scale = learning_rate(self._hparams, step), float(self._loss_scale.scale)

        def update(local: int, row: Sequence[Any]) -> tf.Tensor:
            *gradients, sums, expert_sums = row
            if scale != 1.0:
                gradients = [g if g is None else g / scale for g in gradients]
            norm = self._optimizers[local].apply(gradients, rate, finite=tf.math.is_finite(sums[0]))
            return tf.concat([[norm], sums, tf.reshape(expert_sums, [-1])], 0)

        rows = self._gradients(problem, batch, step, tokens)
        with explain_out_of_memory(f"the update of a step of problem '{problem}'", smaller_model(self._hparams)):
            # All that the host reads of a step, in one transfer.
            norm, *sums = self.devices.run(update, rows)[0].numpy().tolist()
        loss, log_perplexity, accuracy = (x / tokens for x in sums[:3])
        self.expert_sums = np.reshape(np.array(sums[3:], np.float32), rows[0][-1].shape)
        if not (np.isfinite(loss) and np.isfinite(norm)):
            self._skip(problem, batch, step, "gradient" if np.isfinite(loss) else "loss")
            return {"tokens": tokens, "skipped": 1.0}
        self._loss_scale.record_applied()
        figures: dict[str, Any] = {
            "loss": loss,
            "log_perplexity": log_perplexity,
            "accuracy": accuracy,
            "balance": float(balancing_loss(self.expert_sums)),
            "gradient_norm": norm,
            "tokens": tokens,
            "skipped": 0.0,
        }
        if self._hparams.use_experts:  # a problem with classes as targets uses the encoder's experts alone
            layers = dict(zip(("encoder", "decoder"), self.expert_sums, strict=False))
            figures["expert_load"] = {layer: served for layer, (_, _, served) in layers.items()}
        return figures

    def try_largest_batch(self, dataset: Dataset) -> None:
        """Computes the gradients of a problem's heaviest batches and discards them: builds graphs and tests memory.

        Raises:
          UserError: memory does not suffice, or another worker has ended.
        """
        problem = dataset.problem.name
        full = shapes(dataset.problem, self._hparams, dataset.split("train").positions)
        model = self._models[0]
        if hasattr(model, "body"):  # the memory of a user's own model is unknown: its longest batch is tried
            full = heaviest_shapes(Trained.of(model, problem), self._hparams, full, self.devices.replicas)
        else:
            full = full[-1:]
        for shape in full:
            with explain_out_of_memory(
                f"the largest batch of problem '{problem}'",
                f"lower batch_tokens={self._hparams.batch_tokens} or "
                f"batch_max_examples={self._hparams.batch_max_examples}",
            ):
                batch = blank_batch(dataset.problem, shape.examples, shape.boundary)
            self._gradients(problem, batch, 0, tokens=1.0)

    def _gradients(self, problem: str, batch: Batch, step: int, tokens: float) -> list[list[Any]]:
        """Computes the gradients of the whole batch, times the loss scale; tokens: the number of its targets.

        Returns:
          For each local replica a list: the gradient of each weight (None if the problem does not use it), the sums
          (3,) of loss, log-perplexity and right targets, and the sums of the experts (layers, 3, E).
        """
        with explain_out_of_memory(
            f"a batch of problem '{problem}' with {_shapes(batch)}", smaller_batch(self._hparams)
        ):
            return self._sharded_gradients(problem, batch, step, tokens)

    def _sharded_gradients(self, problem: str, batch: Batch, step: int, tokens: float) -> list[list[Any]]:
        parts = self._hparams.accumulate_steps
        scale = float(self._loss_scale.scale)
        loss_gradient = scale * self._hparams.loss_weight(problem) / tokens

        def forward(local: int, part: int) -> _Forward:
            with self._serialize_first_call("forward", problem, local):
                shard, noise = self._shard(batch, step, local, part)
                return _forward(self._models[local], problem, shard, noise)

        def expert_sums(local: int, part: int) -> tf.Tensor:
            model = self._models[local]
            if not hasattr(model, "expert_sums"):  # a user's own model
                return forward(local, part).expert_sums
            with self._serialize_first_call("expert sums", problem, local):
                return model.expert_sums(problem, *self._shard(batch, step, local, part))

        def forward_all(local: int) -> tuple[_Forward, tf.Tensor]:
            """Returns the forward pass of the last shard, and the sums of the experts over all shards.

            The gradient of the balancing losses depends on the sums over all shards and replicas. The last forward pass
            is kept until they are known; those of the other shards run twice, first as far as the experts.
            """
            others = [expert_sums(local, part) for part in range(parts - 1)]
            last = forward(local, parts - 1)
            return last, tf.add_n([*others, last.expert_sums])

        def backward(local: int, last: _Forward | None, sums_gradient: tf.Tensor | None) -> list[tf.Tensor | None]:
            """Adds up the gradients of all shards; `last`: the forward pass of the last one, if it was kept."""
            weights = self._models[local].trainable_variables
            total: list[tf.Tensor | None] = []
            for part in reversed(range(parts)):
                done, last = last or forward(local, part), None
                with self._serialize_first_call("backward", problem, local):
                    row = _backward(done, weights, loss_gradient, sums_gradient)
                total = [x if x is None else x + y for x, y in zip(total, row, strict=True)] if total else row
            return total

        kept: list[Any] = [None] * len(self._models)
        sums_gradients: list[Any] = [None] * len(self._models)
        if self._hparams.use_experts and self._hparams.balance_loss:
            passes = self.devices.run(forward_all)
            kept, local_sums = [last for last, _ in passes], [[sums] for _, sums in passes]
            factor = scale * self._hparams.balance_loss
            sums_gradients = self.devices.run(
                lambda _, row: factor * _balance_gradient(row[0]), self.devices.all_reduce(local_sums)
            )
        rows = self.devices.run(backward, kept, sums_gradients)
        present = [i for i, x in enumerate(rows[0]) if x is not None]
        totals = self.devices.all_reduce([[row[i] for i in present] for row in rows])
        indices = {i: index for index, i in enumerate(present)}
        return [[row[indices[i]] if i in indices else None for i in range(len(rows[0]))] for row in totals]

    @contextlib.contextmanager
    def _serialize_first_call(self, work: str, problem: str, local: int) -> Iterator[None]:
        """Holds a lock during the first call of each, which traces: layers with equal settings share their traces."""
        if (work, problem, local) in self._traced:
            yield
            return
        with self._tracing:
            yield
        self._traced.add((work, problem, local))

    def _shard(self, batch: Batch, step: int, local: int, part: int) -> tuple[Batch, tf.Tensor]:
        """Returns micro-batch `part` of a local replica, and the seed (2,) of its noise."""
        number = (self.devices.first + local) * self._hparams.accumulate_steps + part
        with tf.device("CPU:0"):  # so that a GPU is sent its shard alone
            shard = shard_batch(batch, number, self.devices.replicas * self._hparams.accumulate_steps)
            return shard, step_seed(self._hparams.seed, step, number)

    def _skip(self, problem: str, batch: Batch, step: int, what: str) -> None:
        """Records a skipped step, for a "loss" or a "gradient"; raises DivergedError after max_bad_steps in a row."""
        self._loss_scale.record_skipped(loss_is_finite=what != "loss")
        in_row, limit = int(self._loss_scale.in_row), self._hparams.max_bad_steps
        reason = f"problem '{problem}', step {step + 1}: the {what} is not finite"
        if in_row >= limit:
            index = batch["index"].numpy().tolist() if "index" in batch else ["unknown"]
            examples = ", ".join(map(str, index[:_SHOWN_EXAMPLES])) + (", ..." if len(index) > _SHOWN_EXAMPLES else "")
            raise DivergedError(
                f"{reason}, as at all of the last {limit} steps (max_bad_steps); the batch has {_shapes(batch)}, "
                f"examples {examples} of the training split. "
                "Check these, or lower learning_rate in another --output_dir, with --warm_start_from"
            )
        self.log(f"{reason}; step skipped, {int(self._loss_scale.skipped)} in all")


def _forward(model: Any, problem: str, shard: Batch, noise: tf.Tensor) -> _Forward:
    """Runs the forward pass over a shard."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in model.trainable_variables])
        scores = model.score(problem, shard, noise)
        loss = tf.reduce_sum(scores.loss)
    log_perplexity = loss
    if model.hparams.label_smoothing:
        log_perplexity = tf.reduce_sum(cross_entropy(scores.logits, shard["targets"]) * scores.weights)
    right = tf.argmax(scores.logits, axis=-1, output_type=tf.int32) == shard["targets"]
    right = tf.reduce_sum(tf.cast(right, tf.float32) * scores.weights)
    return _Forward(tape, loss, log_perplexity, right, scores.expert_sums)


def _backward(
    done: _Forward, weights: Sequence[Any], loss_gradient: float, sums_gradient: tf.Tensor | None
) -> list[tf.Tensor | None]:
    """Returns the weights' gradients (None if unused), the sums (3,) as of `_gradients`, and the experts' sums."""
    targets, upstream = [done.loss], [tf.constant(loss_gradient, tf.float32)]
    if sums_gradient is not None:
        targets, upstream = [*targets, done.expert_sums], [*upstream, sums_gradient]
    gradients = done.tape.gradient(targets, weights, output_gradients=upstream)
    dense = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
    return [*dense, tf.stack([done.loss, done.log_perplexity, done.right]), done.expert_sums]


@functools.partial(tf.function, autograph=False, reduce_retracing=True)
def _balance_gradient(sums: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of the balancing losses by the expert sums (layers, 3, E)."""
    with tf.GradientTape() as tape:
        tape.watch(sums)
        balance = balancing_loss(sums)
    return tape.gradient(balance, sums)


def _shapes(batch: Batch) -> str:
    keys = [key for key in sorted(batch) if re.fullmatch(r"inputs(_\d+)?|targets", key)]
    return " and ".join(f"{key} {tuple(batch[key].shape)}" for key in keys)
