"""One step of training: forward, backward, update; the same update however many replicas share it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from t2t_lite.data.batch_shards import largest_batch, shard_batch
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.layers.experts import balancing_loss
from t2t_lite.modalities.modality import cross_entropy
from t2t_lite.progress import print_status
from t2t_lite.training.devices import Devices
from t2t_lite.training.loss_scale import LossScale
from t2t_lite.training.schedule import learning_rate

Batch = Mapping[str, tf.Tensor]
_SHOWN_EXAMPLES = 20  # of a bad batch


class _Pass(NamedTuple):
    """A forward pass over a slice of a batch, and what its backward pass needs."""

    tape: tf.GradientTape
    loss: tf.Tensor  # the sum over targets
    log_perplexity: tf.Tensor  # the same without label smoothing
    right: tf.Tensor  # how many targets were right
    expert_sums: tf.Tensor  # (layers, 3, E)


class TrainStep:
    """Trains one batch of one problem at a time.

        train_step = TrainStep(open_devices(), [(model, optimizer)])
        figures = train_step("reverse", batch, 0)

    A batch is cut into slices, `accumulate_steps` for each replica. The loss is divided by the targets of the whole
    batch, the balancing losses are those of the whole batch, gradients are summed over the slices before they are
    clipped: the update is that of one device and one slice, noise aside, of which each slice draws its own.

    A step whose loss or gradient is not finite leaves weights and moments alone, and counts as a step all the same.

    Args:
      devices: where the replicas are.
      copies: the model and the optimizer of each local replica.

    Attributes:
      log: takes lines meant for the user.
      expert_sums: those of MixtureOfExperts over the last batch (layers, 3, E).
    """

    def __init__(self, devices: Devices, copies: Sequence[tuple[Any, Any]]):
        self.devices = devices
        self.log: Callable[[str], None] = print_status
        self.expert_sums = np.zeros([0, 3, 0])
        self._models = [model for model, _ in copies]
        self._optimizers = [optimizer for _, optimizer in copies]
        self._hparams = self._models[0].hparams
        for optimizer in self._optimizers:
            optimizer.guard = LossScale(self._hparams)  # checkpoints keep it as a part of the optimizer
        self._guard: LossScale = self._optimizers[0].guard

    def broadcast(self) -> int:
        """Gives weights and optimizer of the first replica, as a checkpoint left them, to all. Returns the step."""
        pairs = zip(self._models, self._optimizers, strict=True)
        self.devices.broadcast([[*(v.value for v in m.variables), *o.variables] for m, o in pairs])
        return int(self._optimizers[0].step)

    def __call__(self, problem: str, batch: Batch, step: int) -> dict[str, Any]:
        """Makes step number `step`.

        Returns:
          tokens (targets) and skipped (1 where the step was, else 0); unless it was also loss (nats a target),
          log_perplexity (the same without label smoothing), accuracy, balance (the balancing losses), gradient_norm
          (before clipping), and with experts expert_load ({layer: the positions that each served (E,)}) and
          expert_dropped/LAYER (the share of what was sent to experts that none served).

        Raises:
          UserError: memory does not suffice, another worker has ended, or too many steps in a row were bad.
        """
        rows, tokens = self._gradients(problem, batch, step)
        loss, log_perplexity, right = (float(x) / tokens for x in rows[0][-1])
        rate, scale = learning_rate(self._hparams, step), float(self._guard.scale)

        def update(local: int, row: Sequence[tf.Tensor | None]) -> tf.Tensor:
            gradients = row[:-1] if scale == 1.0 else [g if g is None else g / scale for g in row[:-1]]
            return self._optimizers[local].apply(gradients, rate, finite=bool(np.isfinite(loss)))

        norm = float(self.devices.run(update, rows)[0])
        if not (np.isfinite(loss) and np.isfinite(norm)):
            self._skip(problem, batch, step, "gradient" if np.isfinite(loss) else "loss")
            return {"tokens": tokens, "skipped": 1.0}
        self._guard.good()
        figures: dict[str, Any] = {
            "loss": loss,
            "log_perplexity": log_perplexity,
            "accuracy": right,
            "balance": float(balancing_loss(self.expert_sums)),
            "gradient_norm": norm,
            "tokens": tokens,
            "skipped": 0.0,
        }
        if self._hparams.use_experts:  # classes meet those of the encoder alone
            layers = dict(zip(("encoder", "decoder"), self.expert_sums, strict=False))
            figures["expert_load"] = {layer: served for layer, (_, _, served) in layers.items()}
            for layer, (importance, _, served) in layers.items():
                sent = self._hparams.experts_per_position * round(
                    float(importance.sum())
                )  # gates of a position sum to 1
                figures[f"expert_dropped/{layer}"] = 1.0 - float(served.sum()) / max(sent, 1)
        return figures

    def try_largest_batch(self, dataset: Dataset) -> None:
        """Computes gradients of a problem's largest batch and drops them: what does not fit into memory fails here.

        Raises:
          UserError: memory does not suffice, or another worker has ended.
        """
        problem = dataset.problem.name
        batch: dict[str, tf.Tensor] = {}
        with self._explaining_memory(problem, batch):
            batch |= largest_batch(dataset, self._hparams)
        self._gradients(problem, batch, 0)

    def _gradients(self, problem: str, batch: Batch, step: int) -> tuple[list[list[Any]], float]:
        """For each local replica the gradients of the whole batch, times the loss scale, and at the end (3,): loss,
        log-perplexity and right targets, summed. Beside it the number of targets."""
        parts = self._hparams.accumulate_steps
        tokens = float(tf.reduce_sum(self._models[0].target_weights(problem, batch)))
        scale = float(self._guard.scale)
        weight = scale * self._hparams.loss_weight(problem) / tokens

        def forward(local: int, part: int) -> _Pass:
            return self._forward(self._models[local], problem, batch, step, (self.devices.first + local) * parts + part)

        def backward(local: int, kept: _Pass | None, sums: tf.Tensor) -> list[tf.Tensor | None]:
            weights = self._models[local].trainable_variables
            ascent = self._balance_gradient(sums)
            total: list[tf.Tensor | None] = []
            for part in range(parts):
                done = kept or forward(local, part)
                row = _backward(done, weights, weight, scale * ascent)
                total = [x if x is None else x + y for x, y in zip(total, row, strict=True)] if total else row
            return total

        with self._explaining_memory(problem, batch):
            # The gradient of the balancing losses depends on the sums over all slices. One slice a replica: its
            # backward pass waits for them. More: a first round of forward passes finds them.
            kept: list[Any] = [None] * len(self._models)
            if parts == 1:
                kept = self.devices.run(lambda i: forward(i, 0))
            local_sums = self.devices.run(
                lambda i, done: (
                    done.expert_sums if done else tf.add_n([forward(i, p).expert_sums for p in range(parts)])
                ),
                kept,
            )
            sums = [row[0] for row in self.devices.all_reduce([[x] for x in local_sums])]
            self.expert_sums = sums[0].numpy()
            rows = self.devices.run(backward, kept, sums)
        present = [i for i, x in enumerate(rows[0]) if x is not None]
        totals = self.devices.all_reduce([[row[i] for i in present] for row in rows])
        places = {i: place for place, i in enumerate(present)}
        return [[row[places[i]] if i in places else None for i in range(len(rows[0]))] for row in totals], tokens

    def _forward(self, model: Any, problem: str, batch: Batch, step: int, number: int) -> _Pass:
        """The pass over slice `number` of the batch."""
        part = shard_batch(batch, number, self.devices.replicas * self._hparams.accumulate_steps)
        noise = tf.constant([self._hparams.seed, step], tf.int32)
        if number:
            noise = tf.random.experimental.stateless_fold_in(noise, number)
        with tf.GradientTape() as tape:
            scores = model.score(problem, part, noise)
            loss = tf.reduce_sum(scores.loss)
        log_perplexity = loss
        if self._hparams.label_smoothing:
            log_perplexity = tf.reduce_sum(cross_entropy(scores.logits, part["targets"]) * scores.weights)
        right = tf.argmax(scores.logits, axis=-1, output_type=tf.int32) == part["targets"]
        right = tf.reduce_sum(tf.cast(right, tf.float32) * scores.weights)
        return _Pass(tape, loss, log_perplexity, right, scores.expert_sums)

    def _balance_gradient(self, sums: tf.Tensor) -> tf.Tensor:
        """How the objective changes with the experts' importance and load."""
        with tf.GradientTape() as tape:
            tape.watch(sums)
            balance = balancing_loss(sums)
        return self._hparams.balance_loss * tape.gradient(balance, sums)

    def _skip(self, problem: str, batch: Batch, step: int, what: str) -> None:
        self._guard.bad(loss_is_finite=what != "loss")
        in_row, most = int(self._guard.in_row), self._hparams.max_bad_steps
        where = f"problem '{problem}', step {step + 1}: the {what} is not finite"
        if in_row >= most:
            examples = ", ".join(map(str, batch["index"].numpy()[:_SHOWN_EXAMPLES])) if "index" in batch else "unknown"
            raise UserError(
                f"{where}, as at all of the last {most} steps (max_bad_steps); the batch has {_shapes(batch)}, "
                f"of the training split the examples {examples}{', ...' if examples.count(',') >= 19 else ''}. "
                "Look at these, or lower learning_rate in another --output_dir, with --warm_start_from"
            )
        self.log(f"{where}; step skipped, {int(self._guard.skipped)} in all")

    @contextlib.contextmanager
    def _explaining_memory(self, problem: str, batch: Batch) -> Iterator[None]:
        try:
            yield
        except tf.errors.ResourceExhaustedError as e:
            tokens, parts = self._hparams.batch_tokens, self._hparams.accumulate_steps
            raise UserError(
                f"problem '{problem}': memory does not suffice for a batch of {_shapes(batch) or 'its longest'}; "
                f"raise accumulate_steps={parts}, or lower batch_tokens={tokens} or batch_max_examples in a new run"
            ) from e


def _backward(done: _Pass, weights: Sequence[Any], of_loss: float, of_sums: tf.Tensor) -> list[tf.Tensor | None]:
    """Gradients of the weights, None where the problem does not use them; (3,): loss, log-perplexity, right targets."""
    targets, upstream = [done.loss, done.expert_sums], [tf.constant(of_loss, tf.float32), of_sums]
    gradients = done.tape.gradient(targets, weights, output_gradients=upstream)
    dense = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
    return [*dense, tf.stack([done.loss, done.log_perplexity, done.right])]


def _shapes(batch: Batch) -> str:
    return " and ".join(f"{key} {tuple(batch[key].shape)}" for key in ("inputs", "targets") if key in batch)
