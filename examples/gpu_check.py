"""Measures training and decoding on this machine's GPU in about five minutes, with made-up data.

    python examples/gpu_check.py [--json_out=gpu_check.json] [--problem=P --data_dir=D] [--tiny]

Prints a table as text and writes the same figures as JSON: device and TensorFlow; for multimodel_base and
multimodel_small in float32 and bfloat16, on text, pictures and sound: steps and tokens a second, the share of the GPU's
bfloat16 peak (that of a large product in the same run), and the peak memory beside `--dry_run`'s estimate; the losses
of 20 steps beside the CPU's; tokens decoded a second; with several GPUs, how throughput scales. With --problem and
--data_dir (what datagen wrote), also the time that training waits for its input.

multimodel_base has as many experts as the GPU's memory allows, at most 240. --tiny uses tiny sizes: it only checks that
the script runs, on a CPU too.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from t2t_lite import registry
from t2t_lite.data.batch_shards import blank_batch
from t2t_lite.data.reading import Dataset
from t2t_lite.decoding.greedy_search import GreedyDecoder
from t2t_lite.hparams import HParams
from t2t_lite.hparams.sets import multimodel_base, multimodel_small
from t2t_lite.models.multi_model import MultiModel
from t2t_lite.monitoring.training_display import format_table
from t2t_lite.problems import Audio, Image, Label, Problem, Text
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import persistent_bytes, step_flops
from t2t_lite.training.memory_estimate import BatchShape, Trained, estimate, shapes
from t2t_lite.training.optimizer import make_optimizer
from t2t_lite.training.shapes_only import shapes_only
from t2t_lite.training.step import TrainStep

EXPERTS = (240, 120, 60, 30, 16, 8, 4)  # tried for base, the largest number first
LOSS_STEPS, LOSS_TOLERANCE = 20, 1e-3
HEADINGS = ("set", "precision", "data", "steps/s", "tokens/s", "TFLOP/s", "of peak", "memory", "estimated")

Batch = dict[str, tf.Tensor]


class Sizes:
    """What is run; --tiny makes all of it small."""

    def __init__(self, tiny: bool):
        self.tiny = tiny
        self.product = 256 if tiny else 8192  # rows and columns of the product that measures the peak
        self.steps = 2 if tiny else 10  # timed steps
        self.length = 8 if tiny else 256  # text positions
        self.pixels = 32 if tiny else 224
        self.seconds = 0.5 if tiny else 16.0
        self.classes = 10 if tiny else 1000
        self.vocab_size = 50 if tiny else 8192

    def shrink(self, hparams: HParams) -> HParams:
        """The hparams, or with --tiny those of a tiny network."""
        if not self.tiny:
            return hparams
        return hparams.replace(
            hidden_size=8,
            filter_size=8,
            num_heads=2,
            encoder_blocks=1,
            mixer_blocks=1,
            decoder_blocks=1,
            attention_conv_blocks=1,
            num_experts=4,
            experts_per_position=2,
            image_width=2,
            categorical_width=6,
            audio_blocks=1,
            audio_width=2,
            audio_mels=8,
            batch_tokens=32,
        )

    def problems(self) -> dict[str, Problem]:
        """A problem of each kind of data."""
        text = Text(vocab="words", vocab_size=self.vocab_size, max_length=self.length)
        kinds: dict[str, tuple[Any, Any]] = {
            "text": (text, text),
            "pictures": (Image(self.pixels, self.pixels), Label(tuple(map(str, range(self.classes))))),
            "sound": (Audio(16000, self.seconds), text),
        }
        problems = {}
        for name, (inputs, targets) in kinds.items():
            problems[name] = problem = Problem(name)
            problem.inputs, problem.targets, problem.command = inputs, targets, name
        return problems


def random_batch(problem: Problem, shape: BatchShape, vocab_size: int, seed: int = 0) -> Batch:
    """Random values in the shape of a full batch without padding."""
    rng, batch = np.random.default_rng(seed), blank_batch(problem, shape.examples, shape.boundary)
    for key in ("inputs", "targets"):
        if batch[key].dtype == tf.uint8:
            batch[key] = tf.constant(rng.integers(0, 256, batch[key].shape, np.uint8))
        elif batch[key].dtype.is_floating:
            batch[key] = tf.constant(rng.random(batch[key].shape, np.float32))
        else:
            most = vocab_size if batch[key].shape.rank == 2 else len(problem.targets.classes)
            batch[key] = tf.constant(rng.integers(0 if batch[key].shape.rank == 1 else 2, most, batch[key].shape))
            batch[key] = tf.cast(batch[key], tf.int32)
    return batch


def gpus() -> list[str]:
    """The names of TensorFlow's GPUs."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def gpu_bytes() -> int | None:
    """The first GPU's memory, as nvidia-smi says; None if it is unknown."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) << 20
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return None


def timed(call: Callable[[], object], times: int) -> float:
    """Seconds of one call, on average over `times`, after one that is not counted."""
    call()
    tf.test.experimental.sync_devices()
    start = time.perf_counter()
    for _ in range(times):
        call()
    tf.test.experimental.sync_devices()
    return (time.perf_counter() - start) / times


def peak_flops(size: int, times: int) -> float:
    """FLOPs a second of a large bfloat16 product."""
    x = tf.cast(tf.random.stateless_normal([size, size], [1, 2]), tf.bfloat16)
    product = tf.function(lambda a, b: tf.matmul(a, b))
    return 2 * size**3 / timed(lambda: product(x, x), times)


def affordable(hparams: HParams, sizes: Sizes, memory: int | None) -> HParams:
    """Base with as many experts as the memory holds, by the estimate; unchanged if the memory is not known."""
    if memory is None or sizes.tiny:
        return hparams
    for number in EXPERTS:
        tried = hparams.replace(num_experts=number)
        with shapes_only():
            model = MultiModel(tried, sizes.problems(), {"words": sizes.vocab_size})
        weights = persistent_bytes(model, tried)
        needed = [
            estimate(Trained.of(model, name), tried, shapes(problem, tried)[-1], weights).total
            for name, problem in model.problems.items()
        ]
        if max(needed) < 0.85 * memory:
            return tried
    return hparams.replace(num_experts=EXPERTS[-1])


def build(hparams: HParams, sizes: Sizes, devices: Devices) -> tuple[TrainStep, MultiModel]:
    """A model for text, pictures and sound, ready to train, and its first replica."""
    models = devices.build_replicas(lambda: MultiModel(hparams, sizes.problems(), {"words": sizes.vocab_size}))
    optimizers = devices.run(lambda i: make_optimizer(hparams, models[i].trainable_variables))
    step = TrainStep(devices, list(zip(models, optimizers, strict=True)))
    step.broadcast()
    return step, models[0]


def measure_training(label: str, hparams: HParams, sizes: Sizes, peak: float) -> Iterator[dict[str, Any]]:
    """Yields a row of figures for each kind of data."""
    (step, model), counter = build(hparams, sizes, Devices()), iter(range(10**9))
    weights = persistent_bytes(model, hparams)
    for name, problem in model.problems.items():
        shape = shapes(problem, hparams)[-1]
        batch = random_batch(problem, shape, sizes.vocab_size)
        if gpus():
            tf.config.experimental.reset_memory_stats("GPU:0")
        seconds = timed(lambda n=name, b=batch: step(n, b, next(counter)), sizes.steps)
        flops = step_flops(model, name, shape) / seconds
        yield {
            "set": label,
            "experts": hparams.num_experts,
            "precision": hparams.precision,
            "data": name,
            "batch": [shape.examples, shape.boundary],
            "steps_per_second": 1 / seconds,
            "tokens_per_second": float(tf.size(batch["targets"])) / seconds,
            "flops_per_second": flops,
            "share_of_peak": flops / peak,
            "peak_memory": tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus() else None,
            "estimated_memory": estimate(Trained.of(model, name), hparams, shape, weights).total,
        }


def losses(hparams: HParams, sizes: Sizes, device: str) -> list[float]:
    """The losses of the first steps, in turn on all kinds of data, without TF32."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        with tf.device(device):
            keras.utils.set_random_seed(0)  # for equal weights
            (step, model), found = build(hparams, sizes, Devices()), []
            for number in range(LOSS_STEPS):
                name = list(sizes.problems())[number % 3]
                problem = model.problems[name]
                batch = random_batch(problem, BatchShape(2, shapes(problem, hparams)[-1].boundary), sizes.vocab_size)
                found.append(float(step(name, batch, number)["loss"]))
        return found
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def compare_losses(hparams: HParams, sizes: Sizes) -> dict[str, Any]:
    """The losses on the default device beside those on the CPU."""
    here, cpu = losses(hparams, sizes, gpus()[0] if gpus() else "CPU:0"), losses(hparams, sizes, "CPU:0")
    worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(here, cpu, strict=True))
    return {"device": here, "cpu": cpu, "largest_difference": worst, "equal": worst <= LOSS_TOLERANCE}


def measure_decoding(hparams: HParams, sizes: Sizes) -> dict[str, float]:
    """Tokens that greedy search decodes a second, in a batch of 32 sentences."""
    model = MultiModel(hparams, sizes.problems(), {"words": sizes.vocab_size})
    decoder, inputs = GreedyDecoder(model), {"inputs": tf.fill([2 if sizes.tiny else 32, sizes.length // 4], 5)}
    length, ids = sizes.length // 4, []
    seconds = timed(lambda: ids.append(decoder("text", inputs, length).ids), 1 if sizes.tiny else 3)
    return {"tokens_per_second": float(tf.size(ids[-1])) / seconds}


def measure_scaling(hparams: HParams, sizes: Sizes) -> list[dict[str, float]]:
    """Text examples trained a second on 1, 2, 4, ... GPUs, each with a whole batch of its own."""
    numbers = [number for number in (1, 2, 4, 8) if number <= len(gpus())]
    if len(numbers) < 2:
        return []
    rows: list[dict[str, float]] = []
    for number in numbers:
        strategy = tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(number)]) if number > 1 else None
        (step, model), counter = build(hparams, sizes, Devices(strategy)), iter(range(10**9))
        problem = model.problems["text"]
        full = shapes(problem, hparams)[-1]
        batch = random_batch(problem, BatchShape(number * full.examples, full.boundary), sizes.vocab_size)
        rate = number * full.examples / timed(lambda s=step, b=batch, c=counter: s("text", b, next(c)), sizes.steps)
        one = rows[0]["examples_per_second"] if rows else rate
        rows.append({"gpus": number, "examples_per_second": rate, "scaling": rate / one})
    return rows


def measure_input(name: str, data_dir: Path, hparams: HParams, steps: int) -> dict[str, float]:
    """The share of the time that training one problem waits for its batches."""
    dataset = Dataset.open(data_dir, name)
    vocab_sizes = {vocabulary: loaded.size for vocabulary, loaded in dataset.vocabularies.items()}
    model = MultiModel(hparams, {name: dataset.problem}, vocab_sizes)
    step = TrainStep(Devices(), [(model, make_optimizer(hparams, model.trainable_variables))])
    batches: Iterable[Any] = iter(dataset.batches("train", hparams, shuffle=True, repeat=True))
    step(name, next(batches), 0)
    waited, start = 0.0, time.perf_counter()
    for number in range(1, steps + 1):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        step(name, batch, number)
    return {
        "steps_per_second": steps / (time.perf_counter() - start),
        "waiting": waited / (time.perf_counter() - start),
    }


def table_row(row: dict[str, Any]) -> list[str]:
    """A row of the printed table."""

    def gib(size: int | None) -> str:
        return "-" if size is None else f"{size / 2**30:.2f} GiB"

    name = f"{row['set']}, {row['experts']} experts"
    return [
        *(name, row["precision"], row["data"]),
        *(f"{row['steps_per_second']:.2f}", f"{row['tokens_per_second']:,.0f}"),
        *(f"{row['flops_per_second'] / 1e12:.2f}", f"{row['share_of_peak']:.1%}"),
        *(gib(row["peak_memory"]), gib(row["estimated_memory"])),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Runs all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: only checks that the script runs")
    parser.add_argument("--json_out", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--problem", help="a problem whose data are in --data_dir, to measure the wait for input")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--t2t_usr_dir", help="folders of your own problems")
    flags = parser.parse_args(arguments)
    if bool(flags.problem) != bool(flags.data_dir):
        parser.error("--problem and --data_dir go together")
    if flags.t2t_usr_dir:
        registry.import_usr_dirs(flags.t2t_usr_dir.split(","))
    if not gpus() and not flags.tiny:
        parser.error("TensorFlow finds no GPU; --tiny runs on a CPU")
    sizes = Sizes(flags.tiny)
    details = [tf.config.experimental.get_device_details(x) for x in tf.config.list_physical_devices("GPU")]
    peak = peak_flops(sizes.product, sizes.steps)
    result: dict[str, Any] = {
        "devices": [detail.get("device_name", "GPU") for detail in details] or ["CPU"],
        "tensorflow": tf.__version__,
        "bfloat16_flops_per_second": peak,
        "training": [],
    }
    print(f"{', '.join(result['devices'])}; TensorFlow {tf.__version__}; a bfloat16 product: {peak / 1e12:.2f} TFLOP/s")
    small, base = sizes.shrink(multimodel_small()), affordable(sizes.shrink(multimodel_base()), sizes, gpu_bytes())
    for label, hparams in (("small", small), ("base", base)):
        for precision in ("float32", "bfloat16"):
            keras.backend.clear_session()
            result["training"] += measure_training(label, hparams.replace(precision=precision), sizes, peak)
    print(format_table([list(HEADINGS), *map(table_row, result["training"])]))
    result["losses"] = compare_losses(small, sizes)
    verdict = "equal" if result["losses"]["equal"] else "DIFFER"
    difference = f"largest difference {result['losses']['largest_difference']:.1e}"
    print(f"losses of {LOSS_STEPS} steps in float32 beside the CPU's: {verdict}, {difference}")
    result["decoding"] = {"small": measure_decoding(small, sizes), "base": measure_decoding(base, sizes)}
    for label, row in result["decoding"].items():
        print(f"decoding, {label}: {row['tokens_per_second']:,.0f} tokens/s")
    result["scaling"] = measure_scaling(small.replace(precision="bfloat16"), sizes)
    for row in result["scaling"]:
        print(f"{row['gpus']} GPUs: {row['examples_per_second']:,.1f} examples/s, {row['scaling']:.2f} times one GPU")
    if flags.problem:
        result["input"] = measure_input(flags.problem, flags.data_dir, small, sizes.steps)
        print(f"{flags.problem}: {result['input']['waiting']:.1%} of the time is spent waiting for input")
    flags.json_out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {flags.json_out}")


if __name__ == "__main__":
    main()
