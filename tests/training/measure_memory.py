"""Trains a few steps on made-up batches and prints the peak memory beside the estimate: a program for child processes.

    python measure_memory.py '{"kind": "image", "hparams": "...", "examples": 8, "boundary": 1, "size": 64}'

Prints JSON: "measured", "estimated" and their "ratio", in bytes, of weights, optimizer and step. The process's own
memory (code, traced graphs) is measured after a step with the smallest batch and subtracted.
"""

import json
import os
import sys
from pathlib import Path

# Large tensors go back to the system when they are freed, so that resident memory is the memory in use.
if os.environ.get("MALLOC_MMAP_THRESHOLD_") is None:
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np
import tensorflow as tf

from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.hparams import HParams
from t2t_lite.hparams.hparams import override
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.problems import Audio, Image, Label, Problem, Text
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import persistent_bytes
from t2t_lite.training.memory_estimate import BatchShape, Trained, estimate
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.step import TrainStep


def made_up_problem(kind: str, size: int, longest: int) -> Problem:
    text, picture = Text(max_length=longest), Image(rows=size, columns=size)
    inputs, targets = {
        "text": (text, text),
        "image": (picture, Label(tuple(map(str, range(1000))))),
        "caption": (picture, text),
        "audio": (Audio(16000, longest * 0.04), text),
    }[kind]
    problem = Problem(kind)
    problem.inputs, problem.targets, problem.command = inputs, targets, "do"
    return problem


def random_batch(problem: Problem, shape: BatchShape, vocab_size: int) -> dict[str, tf.Tensor]:
    rng, batch = np.random.default_rng(0), blank_batch(problem, shape.examples, shape.boundary)
    for key in ("inputs", "targets"):
        if batch[key].dtype == tf.uint8:
            batch[key] = tf.constant(rng.integers(0, 256, batch[key].shape, np.uint8))
        elif batch[key].dtype.is_floating:
            batch[key] = tf.constant(rng.random(batch[key].shape, np.float32))
        else:
            most = vocab_size if batch[key].shape.rank == 2 else 1000
            batch[key] = tf.constant(rng.integers(1, most, batch[key].shape), tf.int32)
    return batch


def resident(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) << 10


def measure(kind: str, hparams: str, examples: int, boundary: int, size: int = 64, vocab: int = 8192) -> dict:
    chosen = override(HParams(), hparams)
    problem, shape = made_up_problem(kind, size, max(boundary, 8)), BatchShape(examples, boundary)
    model = MultiModel(chosen, {kind: problem}, {"subwords": vocab})
    step = TrainStep(Devices(), [(model, make_optimizer(chosen, model.trainable_variables))])
    step(kind, random_batch(problem, BatchShape(1, min(boundary, 8)), vocab), 0)
    weights = persistent_bytes(model, chosen)
    own = resident("VmRSS") - sum(weights.values())
    Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
    batch = random_batch(problem, shape, vocab)
    for number in (1, 2):
        step(kind, batch, number)
    guess = estimate(Trained.of(model, kind), chosen, shape, weights)
    measured = resident("VmHWM") - own
    mib = {part: round(n / 2**20) for part, n in guess.activations.items()} | {
        "weights": round(sum(weights.values()) / 2**20),
        "gradients": round(guess.gradients / 2**20),
        guess.worst: round(guess.step / 2**20),
        "own": round(own / 2**20),
    }
    return {"measured": measured, "estimated": guess.total, "ratio": guess.total / measured, "MiB": mib}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
