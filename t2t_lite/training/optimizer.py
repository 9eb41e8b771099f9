"""Adam with warm-up, a schedule and clipping by the global norm."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from t2t_lite.hparams import HParams


def learning_rate(hparams: HParams, step: int) -> float:
    """The rate of step `step` (from 0): a linear warm-up to the peak, then the schedule."""
    step += 1
    if step < hparams.warmup_steps:
        return hparams.learning_rate * step / hparams.warmup_steps
    if hparams.schedule == "rsqrt":
        return hparams.learning_rate * (max(hparams.warmup_steps, 1) / step) ** 0.5
    if hparams.schedule == "constant":
        return hparams.learning_rate
    decay = max(hparams.decay_steps - hparams.warmup_steps, 1)
    left = max(1.0 - (step - hparams.warmup_steps) / decay, 0.0)
    return hparams.learning_rate * (left if hparams.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left))


class Adam(tf.Module):
    """Adam (Kingma & Ba 2015) over all the model's variables; a step moves only those that have a gradient.

    A problem's step leaves the modality nets of the others alone, their moments included. The fused kernel makes a
    fifth of the operations that Keras's optimizer makes.

    Args:
      hparams: rates, betas, epsilon, clip_norm.
      variables: all that may ever be trained.
    """

    def __init__(self, hparams: HParams, variables: Sequence[keras.Variable]):
        super().__init__(name="adam")
        self.hparams = hparams
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._variables = list(variables)
        self._relative_rates = [relative_rate(v, hparams) for v in variables]
        self.first = [tf.Variable(tf.zeros(v.shape), trainable=False, name="first") for v in variables]
        self.second = [tf.Variable(tf.zeros(v.shape), trainable=False, name="second") for v in variables]
        # One traced function for each set of variables; problems with the same nets share it.
        self._traced = functools.cache(self._trace)

    def apply(self, gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
        """Makes one step.

        Args:
          gradients: one a variable, in the order given; None where the step's problem does not use the variable.

        Returns:
          The global norm of the gradients before clipping (scalar).
        """
        present = tuple(i for i, gradient in enumerate(gradients) if gradient is not None)
        rate = tf.constant(learning_rate(self.hparams, int(self.step)), tf.float32)
        given = [tf.convert_to_tensor(gradients[i]) for i in present]
        return self._traced(present)(rate, *given)

    def _trace(self, present: tuple[int, ...]) -> Any:
        return tf.function(lambda rate, *given: self._update(present, rate, given))

    def _update(self, present: tuple[int, ...], rate: tf.Tensor, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        norm = tf.linalg.global_norm(gradients)
        clip = self.hparams.clip_norm
        scale = tf.minimum(1.0, clip / tf.maximum(norm, 1e-12)) if clip else tf.ones([])
        steps = tf.cast(self.step.assign_add(1), tf.float32)
        beta1, beta2 = self.hparams.adam_beta1, self.hparams.adam_beta2
        for i, gradient in zip(present, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=self._variables[i].value.handle,
                m=self.first[i].handle,
                v=self.second[i].handle,
                beta1_power=beta1**steps,
                beta2_power=beta2**steps,
                lr=rate * self._relative_rates[i],
                beta1=beta1,
                beta2=beta2,
                epsilon=self.hparams.adam_epsilon,
                grad=gradient * scale,
            )
        return norm


def relative_rate(variable: keras.Variable, hparams: HParams) -> float:
    """What the learning rate is multiplied by for a variable: `depthwise_rate`, `norm_rate` or 1."""
    if variable.name == "depthwise":
        return hparams.depthwise_rate
    return hparams.norm_rate if len(variable.shape) == 1 else 1.0
