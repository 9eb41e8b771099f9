"""Examples of weight 0, which only fill a batch up: they count nowhere, and change nothing of the others."""

import numpy as np
import pytest
import tensorflow as tf
from checks import NOISE, SMALL, batch_of, close, eagerly, five_problems, randomize

from t2t_lite.models.multi_model import MultiModel

HPARAMS = SMALL.replace(encoder_blocks=1, decoder_blocks=1, gating_noise=False, dropout=0.0)


@pytest.mark.parametrize("name", ["classes", "translate"])
@pytest.mark.parametrize("noise", [None, NOISE], ids=["evaluation", "training"])
def test_examples_of_weight_zero_count_nowhere(name, noise):
    problems = {name: five_problems()[name]}
    batch = batch_of(problems[name])
    weights = tf.constant([1.0, 0.0, 1.0])
    kept = {key: tf.gather(value, [0, 2]) for key, value in batch.items()}
    with eagerly():
        model = randomize(MultiModel(HPARAMS, problems, {"words": 30}))
        scores, expected = model.score(name, batch | {"weights": weights}, noise), model.score(name, kept, noise)
    assert not np.any(scores.loss[1]) and not np.any(scores.weights[1])
    close(tf.gather(scores.loss, [0, 2]), expected.loss)
    close(tf.gather(scores.weights, [0, 2]), expected.weights)
    close(scores.expert_sums, expected.expert_sums)
    assert float(tf.reduce_sum(expected.weights)) > 0 and np.all(np.isfinite(scores.logits))


def test_command_embeddings_start_with_a_variance_of_one():
    hparams = HPARAMS.replace(hidden_size=512, filter_size=4, num_experts=2, experts_per_position=1)
    problems = {name: problem for name, problem in five_problems().items() if name in ("translate", "tree")}
    with eagerly():
        model = MultiModel(hparams, problems, {"words": 30})
    assert model.commands.shape == (2, 512)
    assert np.square(model.commands.numpy()).mean() == pytest.approx(1, rel=0.15)
