"""The optimizers: Adam, AdamW and Adafactor over all the model's variables, of which a step moves some."""

import contextlib
import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.hparams import HParams
from t2t_lite.training.moving_average import MovingAverage


def make_optimizer(hparams: HParams, variables: Sequence[keras.Variable]) -> "Optimizer":
    """The optimizer that hparams.optimizer names. AdamW is Adam with hparams.weight_decay."""
    return {"adam": Adam, "adamw": Adam, "adafactor": Adafactor}[hparams.optimizer](hparams, variables)


class Optimizer(tf.Module):
    """What the optimizers share: clipping, steps to skip, weight decay, counts and the moving average.

    A problem's step leaves alone the nets of the others: their weights, moments and counts. Moments are unbiased by a
    variable's own count of updates, so that a net that joins late starts as well as one that was there from the first.

    Args:
      hparams: clip_norm, weight_decay, average_decay, and what the subclass reads.
      variables: all that may ever be trained.
    """

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(name=hparams.optimizer)
        self.hparams = hparams
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.updates = tf.Variable(tf.zeros(len(variables), tf.int64), trainable=False, name="updates")
        self.average = MovingAverage(hparams.average_decay, variables) if hparams.average_decay else None
        self._variables = list(variables)
        self._relative_rates = [relative_rate(v, hparams) for v in variables]
        # One traced function for each set of variables; problems with the same nets share it.
        self._traced = functools.cache(self._trace)

    def apply(self, gradients: Sequence[tf.Tensor | None], rate: float, finite: bool = True) -> tf.Tensor:
        """Clips the gradients by their global norm and makes one step.

        Where the norm or the loss is not finite the step is skipped: nothing moves but `step`, which counts every call.

        Args:
          gradients: one a variable, in the order given; None where the step's problem does not use the variable.
          rate: the learning rate.
          finite: whether the loss is.

        Returns:
          The global norm of the gradients before clipping (scalar).
        """
        present = tuple(i for i, gradient in enumerate(gradients) if gradient is not None)
        given = [tf.convert_to_tensor(gradients[i]) for i in present]
        return self._traced(present)(tf.convert_to_tensor(rate, tf.float32), tf.convert_to_tensor(finite), *given)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the weights are their moving averages, where hparams.average_decay asks for them."""
        return self.average.swapped_in() if self.average else contextlib.nullcontext()

    def _trace(self, present: tuple[int, ...]) -> Any:
        return tf.function(lambda *arguments: self._step(present, *arguments), autograph=False)

    def _step(self, present: tuple[int, ...], rate: tf.Tensor, finite: tf.Tensor, *gradients: tf.Tensor) -> tf.Tensor:
        norm = tf.linalg.global_norm(gradients)
        clip = self.hparams.clip_norm
        scale = tf.minimum(1.0, clip / tf.maximum(norm, 1e-12)) if clip else tf.ones([])

        def move() -> tf.Tensor:
            moved = tf.scatter_nd([[i] for i in present], [1] * len(present), self.updates.shape)
            counts = tf.gather(self.updates.assign_add(tf.cast(moved, tf.int64)), present)
            self._decay(present, rate)
            self._update(present, [gradient * scale for gradient in gradients], rate, tf.cast(counts, tf.float32))
            return tf.constant(True)

        tf.cond(finite & tf.math.is_finite(norm), move, lambda: tf.constant(False))
        self.step.assign_add(1)
        if self.average:
            self.average.update()
        return norm

    def _decay(self, present: Sequence[int], rate: tf.Tensor) -> None:
        """Weight decay apart from the moments (Loshchilov & Hutter 2017): weight -= rate * weight_decay * weight.

        Only of matrices and kernels: norms' scales and shifts and biases, all of rank 1, have no cause to be small.
        """
        if self.hparams.weight_decay:
            for variable in (self._variables[i].value for i in present):
                if variable.shape.rank >= 2:
                    variable.assign_sub(rate * self.hparams.weight_decay * variable)

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        """Moves the variables at the places `present`; counts: of each, its updates, this one included."""
        raise NotImplementedError


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), by TensorFlow's fused kernel: a fifth of the operations of Keras's optimizer.

    Reads adam_beta1, adam_beta2, adam_epsilon.
    """

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(hparams, variables)
        self.first = [tf.Variable(tf.zeros(v.shape), trainable=False, name="first") for v in variables]
        self.second = [tf.Variable(tf.zeros(v.shape), trainable=False, name="second") for v in variables]

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        beta1, beta2 = self.hparams.adam_beta1, self.hparams.adam_beta2
        powers = zip(tf.unstack(beta1**counts), tf.unstack(beta2**counts), strict=True)
        for i, gradient, (power1, power2) in zip(present, gradients, powers, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=self._variables[i].value.handle,
                m=self.first[i].handle,
                v=self.second[i].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=rate * self._relative_rates[i],
                beta1=beta1,
                beta2=beta2,
                epsilon=self.hparams.adam_epsilon,
                grad=gradient,
            )


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018, algorithms 4 and 5), without a first moment.

    The second moment of a matrix is kept as its means along rows and columns: memory for their sum, not their product.
    The learning rate is relative to the root mean square of the variable, so 1e-2 is usual where Adam takes 1e-3.
    """

    EPSILON1 = 1e-30  # added to squared gradients
    EPSILON2 = 1e-3  # the least root mean square that a variable counts as having
    THRESHOLD = 1.0  # the root mean square that an update is clipped to
    DECAY = 0.8  # beta2 of the t-th update is 1 - t^-DECAY

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(hparams, variables)
        self.second = [
            [tf.Variable(tf.zeros(shape), trainable=False, name="second") for shape in second_shapes(v.shape)]
            for v in variables
        ]

    def _update(
        self, present: Sequence[int], gradients: Sequence[tf.Tensor], rate: tf.Tensor, counts: tf.Tensor
    ) -> None:
        follow = tf.unstack(counts**-self.DECAY)  # 1 - beta2
        for i, gradient, share in zip(present, gradients, follow, strict=True):
            variable, moments = self._variables[i].value, self.second[i]
            squares = tf.square(gradient) + self.EPSILON1
            means = [tf.reduce_mean(squares, -1), tf.reduce_mean(squares, -2)] if len(moments) == 2 else [squares]
            found = [m.assign_add(share * (mean - m)) for m, mean in zip(moments, means, strict=True)]
            if len(found) == 2:
                rows, columns = found[0] / tf.reduce_mean(found[0], -1, keepdims=True), found[1]
                update = gradient * tf.math.rsqrt(rows)[..., None] * tf.math.rsqrt(columns)[..., None, :]
            else:
                update = gradient * tf.math.rsqrt(found[0])
            size = tf.maximum(self.EPSILON2, _root_mean_square(variable))
            rate_here = rate * self._relative_rates[i]
            variable.assign_sub(rate_here * size / tf.maximum(1.0, _root_mean_square(update) / self.THRESHOLD) * update)


def relative_rate(variable: keras.Variable, hparams: HParams) -> float:
    """What the learning rate is multiplied by for a variable: `depthwise_rate`, `norm_rate` or 1."""
    if variable.name == "depthwise":
        return hparams.depthwise_rate
    return hparams.norm_rate if len(variable.shape) == 1 else 1.0


def second_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of Adafactor's second moments: rows and columns of the last two dimensions, or the variable itself."""
    shape = tuple(shape)
    return [shape[:-1], (*shape[:-2], shape[-1])] if len(shape) >= 2 else [shape]


def _root_mean_square(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_mean(tf.square(x)))
