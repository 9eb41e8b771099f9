"""One step of training: forward, backward, update."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from t2t_lite.training.optimizer import Optimizer
from t2t_lite.training.schedule import learning_rate


def train_step(
    model: Any, optimizer: Optimizer, problem: str, batch: Mapping[str, tf.Tensor], step: int
) -> dict[str, float]:
    """One step on one problem: forward, backward, update.

    Returns:
      loss (nats a target), accuracy, balance (the experts' balancing losses), gradient_norm, tokens (targets).
    """
    hparams = model.hparams
    noise = tf.constant([hparams.seed, step], tf.int32)
    with tf.GradientTape() as tape:
        scores = model.score(problem, batch, noise)
        tokens = tf.reduce_sum(scores.weights)
        loss = tf.reduce_sum(scores.loss) / tokens
        objective = hparams.loss_weight(problem) * loss + hparams.balance_loss * scores.balance
    gradients = tape.gradient(objective, model.trainable_variables)
    norm = optimizer.apply(gradients, learning_rate(hparams, step), tf.math.is_finite(objective))
    right = tf.argmax(scores.logits, axis=-1, output_type=tf.int32) == batch["targets"]
    accuracy = tf.reduce_sum(tf.cast(right, tf.float32) * scores.weights) / tokens
    figures = {
        "loss": loss,
        "accuracy": accuracy,
        "balance": scores.balance,
        "gradient_norm": norm,
        "tokens": tokens,
    }
    return {key: float(value) for key, value in figures.items()}
