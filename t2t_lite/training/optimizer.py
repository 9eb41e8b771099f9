"""The optimizers Adam, AdamW and Adafactor; a step updates the variables that its problem uses."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.layers.replica_function import own_handles, replica_function
from t2t_lite.training.moving_average import MovingAverage

_UPDATED_BY_ROW = ("commands",)  # names of variables of which a step updates only the rows that its problem uses


def make_optimizer(hparams: HParams, variables: Sequence[keras.Variable]) -> "Optimizer":
    """Returns the optimizer that hparams.optimizer names. AdamW is Adam with hparams.weight_decay."""
    return {"adam": Adam, "adamw": Adam, "adafactor": Adafactor}[hparams.optimizer](hparams, variables)


class Optimizer(tf.Module):
    """The base of the optimizers: clipping, skipped steps, weight decay, update counts and the moving average.

    A step does not change the weights, moments and counts of variables that its problem does not use. The bias
    correction of moments counts the updates of each variable, so that a net first trained late starts as one trained
    from step 0.

    Args:
      hparams: clip_norm, weight_decay, average_decay, and those that the subclass reads.
      variables: all variables that any problem trains.
    """

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(name=hparams.optimizer)
        self.hparams = hparams
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.updates = tf.Variable(tf.zeros(len(variables), tf.int64), trainable=False, name="updates")
        self.average = MovingAverage(hparams.average_decay, variables) if hparams.average_decay else None
        self._variables = list(variables)
        self._relative_rates = [relative_rate(v, hparams) for v in variables]
        # A traced function for each set of variables; problems with the same nets share one.
        self._traced = functools.cache(self._trace)

    def apply(self, gradients: Sequence[tf.Tensor | None], rate: float, finite: bool = True) -> tf.Tensor:
        """Clips the gradients by their global norm and makes one step.

        Skips the step if the norm or the loss is not finite: changes only `step`, which counts every call, and the
        moving average.

        Args:
          gradients: one for each variable, in order; None for a variable that the step's problem does not use.
          rate: the learning rate.
          finite: whether the loss is finite.

        Returns:
          The global norm of the gradients before clipping (scalar).
        """
        present = tuple(i for i, gradient in enumerate(gradients) if gradient is not None)
        dense = [tf.convert_to_tensor(gradients[i]) for i in present]
        return self._traced(present)(tf.convert_to_tensor(rate, tf.float32), tf.convert_to_tensor(finite), *dense)

    def share_traces(self, first: "Optimizer") -> None:
        """Calls from now on the traced functions of `first`, another replica's, with the own variables."""
        handles = own_handles(first._all_variables(), self._all_variables())
        self._traced = functools.cache(lambda present: replica_function(first._traced(present), handles))

    def _all_variables(self) -> list[tf.Variable]:
        return [*(v.value for v in self._variables), *self.variables]

    def averaged(self) -> AbstractContextManager[None]:
        """Replaces the weights by their moving averages inside the block, if hparams.average_decay is set."""
        return self.average.swapped_in() if self.average else contextlib.nullcontext()

    def _trace(self, present: tuple[int, ...]) -> Any:
        scalars = [tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.bool)]
        gradients = [tf.TensorSpec(self._variables[i].shape, tf.float32) for i in present]
        return tf.function(
            lambda *arguments: self._step(present, *arguments), autograph=False, input_signature=[*scalars, *gradients]
        )

    def _step(self, present: tuple[int, ...], rate: tf.Tensor, finite: tf.Tensor, *gradients: tf.Tensor) -> tf.Tensor:
        norm = tf.linalg.global_norm(gradients)
        clip = self.hparams.clip_norm
        scale = tf.minimum(1.0, clip / tf.maximum(norm, 1e-12)) if clip else tf.ones([])

        def apply() -> tf.Tensor:
            updated = tf.scatter_nd([[i] for i in present], [1] * len(present), self.updates.shape)
            counts = tf.gather(self.updates.assign_add(tf.cast(updated, tf.int64)), present)
            with self._unused_rows_kept(present, gradients):
                self._decay(present, rate)
                self._update(present, [gradient * scale for gradient in gradients], rate, tf.cast(counts, tf.float32))
            return tf.constant(True)

        tf.cond(finite & tf.math.is_finite(norm), apply, lambda: tf.constant(False))
        self.step.assign_add(1)
        if self.average:
            self.average.update()
        return norm

    @contextlib.contextmanager
    def _unused_rows_kept(self, present: Sequence[int], gradients: Sequence[tf.Tensor]) -> Iterator[None]:
        """Keeps rows whose gradient is zero, and their moments, in the variables that hold a row for each command.

        Without this, Adam's moments would move the commands of all other problems at each step.
        """
        kept = []
        for i, gradient in zip(present, gradients, strict=True):
            if self._variables[i].name in _UPDATED_BY_ROW:
                used = tf.reduce_any(gradient != 0, axis=1)
                kept += [(used, v, tf.identity(v)) for v in (self._variables[i].value, *self._row_moments(i))]
        yield
        for used, variable, old in kept:
            variable.assign(tf.where(tf.reshape(used, [-1] + [1] * (variable.shape.rank - 1)), variable, old))

    def _row_moments(self, i: int) -> list[tf.Variable]:
        """The moments of variable i that have its rows."""
        raise NotImplementedError

    def _decay(self, present: Sequence[int], rate: tf.Tensor) -> None:
        """Decoupled weight decay (Loshchilov & Hutter 2017): weight -= rate * weight_decay * weight.

        Variables of rank 1 (scales, shifts and biases) do not decay.
        """
        if self.hparams.weight_decay:
            for variable in (self._variables[i].value for i in present):
                if variable.shape.rank >= 2:
                    variable.assign_sub(rate * self.hparams.weight_decay * variable)

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        """Updates the variables at the indices `present`; counts: their numbers of updates, this one included."""
        raise NotImplementedError


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015) with TensorFlow's fused kernel: a fifth of the operations of Keras's optimizer.

    Reads adam_beta1, adam_beta2, adam_epsilon.
    """

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(hparams, variables)
        self.first = [tf.Variable(tf.zeros(v.shape), trainable=False, name="first") for v in variables]
        self.second = [tf.Variable(tf.zeros(v.shape), trainable=False, name="second") for v in variables]

    def _row_moments(self, i: int) -> list[tf.Variable]:
        return [self.first[i], self.second[i]]

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        # Each constant is made once: a hundred weights would each trace their own.
        beta1, beta2 = tf.constant(self.hparams.adam_beta1), tf.constant(self.hparams.adam_beta2)
        epsilon = tf.constant(self.hparams.adam_epsilon)
        rates = {relative: rate * relative for relative in set(self._relative_rates)}
        powers = zip(tf.unstack(beta1**counts), tf.unstack(beta2**counts), strict=True)
        for i, gradient, (power1, power2) in zip(present, gradients, powers, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=self._variables[i].value.handle,
                m=self.first[i].handle,
                v=self.second[i].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=rates[self._relative_rates[i]],
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                grad=gradient,
            )


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018, algorithms 4 and 5), without a first moment.

    Keeps the second moment of a matrix as its means along rows and columns: rows + columns numbers, not rows * columns.
    The learning rate is relative to the root mean square of the variable: 1e-2 is usual where it is 1e-3 for Adam.
    """

    EPSILON1 = 1e-30  # added to squared gradients
    EPSILON2 = 1e-3  # lower bound of a variable's root mean square
    THRESHOLD = 1.0  # updates are clipped to this root mean square
    DECAY = 0.8  # beta2 of update t is 1 - t^-DECAY

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(hparams, variables)
        self.second = [
            [tf.Variable(tf.zeros(shape), trainable=False, name="second") for shape in second_shapes(v.shape)]
            for v in variables
        ]

    def _row_moments(self, i: int) -> list[tf.Variable]:
        return self.second[i][:1]  # the second are means over all rows

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        one_minus_beta2 = tf.unstack(counts**-self.DECAY)
        for i, gradient, weight in zip(present, gradients, one_minus_beta2, strict=True):
            variable, moments = self._variables[i].value, self.second[i]
            squares = tf.square(gradient) + self.EPSILON1
            means = [tf.reduce_mean(squares, -1), tf.reduce_mean(squares, -2)] if len(moments) == 2 else [squares]
            second = [m.assign_add(weight * (mean - m)) for m, mean in zip(moments, means, strict=True)]
            if len(second) == 2:
                rows, columns = second[0] / tf.reduce_mean(second[0], -1, keepdims=True), second[1]
                update = gradient * tf.math.rsqrt(rows)[..., None] * tf.math.rsqrt(columns)[..., None, :]
            else:
                update = gradient * tf.math.rsqrt(second[0])
            size = tf.maximum(self.EPSILON2, _root_mean_square(variable))
            relative = rate * self._relative_rates[i]
            variable.assign_sub(relative * size / tf.maximum(1.0, _root_mean_square(update) / self.THRESHOLD) * update)


def relative_rate(variable: keras.Variable, hparams: HParams) -> float:
    """Returns the factor of the learning rate for a variable: `depthwise_rate`, `norm_rate` or 1."""
    if variable.name == "depthwise":
        return hparams.depthwise_rate
    return hparams.norm_rate if len(variable.shape) == 1 else 1.0


def second_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Returns the shapes of Adafactor's second moments: rows and columns of the last two dimensions, or the shape."""
    shape = tuple(shape)
    return [shape[:-1], (*shape[:-2], shape[-1])] if len(shape) >= 2 else [shape]


def _root_mean_square(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
