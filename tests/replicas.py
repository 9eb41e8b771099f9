"""Trains a small model in ways that must agree, and keeps what came out.

A process of its own for tests/training/test_devices.py: a CPU is divided into devices once, before TensorFlow starts.

    python replicas.py FOLDER STEPS CASE...     a CASE is REPLICAS or REPLICAS:HPARAMS, as 2:accumulate_steps=2
"""

import dataclasses
import json
import random
import sys
from pathlib import Path

import numpy as np

from t2t_lite.hparams import override
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.training.devices import open_devices
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep

open_devices("mirrored", 4)  # before the next import makes a tensor
from checks import SMALL, batch_of, five_problems  # noqa: E402

QUIET = dataclasses.replace(
    SMALL,
    encoder_blocks=1,
    decoder_blocks=1,
    image_strides=1,
    dropout=0.0,
    gating_noise=False,
    learning_rate=2e-3,
    warmup_steps=5,
    adam_epsilon=1e-6,
    balance_loss=0.1,
)
# 13 examples make uneven shards for 2 and 4 replicas, 3 are fewer than 4 replicas.
BATCHES = [("translate", 13), ("classes", 13), ("translate", 3), ("classes", 3), ("translate", 8)]


def count_traces(model):
    """Counts the traces of the encoder and of the decoder."""
    model.body.traced = 0

    def counting(traced):
        def call(*args):
            model.body.traced += 1
            return traced(*args)

        return call

    model.body.encode, model.body.decode = counting(model.body.encode), counting(model.body.decode)
    model.trace()


def train(case, steps):
    replicas, _, changes = case.partition(":")
    devices = open_devices("mirrored", int(replicas))
    hparams = override(QUIET, changes)
    problems = {name: problem for name, problem in five_problems().items() if name in ("translate", "classes")}

    def build():
        random.seed(0)
        model = MultiModel(hparams, problems, {"words": 30}, name="model")
        count_traces(model)
        return model, make_optimizer(hparams, model.trainable_variables)

    copies = devices.build_replicas(build)
    train_step = TrainStep(devices, copies)
    assert train_step.broadcast() == 0
    figures = []
    for step in range(steps):
        name, rows = BATCHES[step % len(BATCHES)]
        found = train_step(name, batch_of(problems[name], seed=step, rows=rows), step)
        loads = found.pop("expert_load", {})
        figures.append(found | {f"load of {layer}": load.tolist() for layer, load in loads.items()})
    for model, _ in copies:  # all replicas share the traces of the first
        assert model.body.traced == (2 if model is copies[0][0] else 0)
    weights = [[v.numpy() for v in model.trainable_variables] for model, _ in copies]
    for others in weights[1:]:
        for mine, first in zip(others, weights[0], strict=True):
            np.testing.assert_array_equal(mine, first)
    return weights[0], figures


def main(folder, steps, *cases):
    for case in cases:
        weights, figures = train(case, int(steps))
        np.savez(Path(folder) / f"{case}.npz", *weights)
        (Path(folder) / f"{case}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
