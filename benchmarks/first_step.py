"""From `t2t-trainer` to the first step of microworld's eight problems, and the peak memory of that training.

The set is multimodel_tiny; the data are a part of microworld, made first. The graphs of all eight problems are built
before the first step.

    python benchmarks/first_step.py [--tiny]         # minutes
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measure import LeftOut, Result, Row, Timing, main, over_product, shared_folder

STEPS = 24  # of the training; the largest batches of all problems are tried before
# Registered by --t2t_usr_dir: microworld with fewer examples.
FEWER = """
from t2t_lite import registry

for name in registry.mixtures.get("microworld").rates:
    registry.problems.get(name).counts = {"train": %d, "dev": 50, "test": 50}
"""
EXAMPLES = 2000
TINY_HPARAMS = (
    "hidden_size=8,filter_size=8,num_heads=2,encoder_blocks=1,mixer_blocks=1,decoder_blocks=1,attention_conv_blocks=0,"
    "num_experts=2,experts_per_position=1,image_width=2,audio_blocks=1,audio_width=2,audio_mels=8,categorical_width=6,"
    "batch_tokens=256,batch_max_examples=4"
)


def command(name: str, folder: Path, *flags: str) -> list[str]:
    module = [sys.executable, "-m", f"t2t_lite.bin.{name}", f"--t2t_usr_dir={folder / 'usr'}"]
    return [*module, f"--problem={(folder / 'problems').read_text()}", *flags]


def make_data(folder: Path, size: str) -> None:
    """Generates a part of microworld's data, unless the folder has them."""
    if (folder / "data").exists():
        return
    (folder / "usr").mkdir()
    (folder / "usr" / "fewer.py").write_text(FEWER % EXAMPLES)
    (folder / "problems").write_text("microworld" if size == "full" else "microworld_ende")
    subprocess.run(command("datagen", folder, f"--data_dir={folder / 'data'}"), check=True, capture_output=True)


def trained_run(folder: Path, size: str) -> tuple[Path, float, float]:
    """Trains from the command; returns the run, the seconds until the first step, and the peak memory in GB."""
    run, steps = folder / "run", STEPS if size == "full" else 1
    flags = ["--hparams_set=multimodel_tiny", f"--data_dir={folder / 'data'}", f"--output_dir={run}"]
    flags += [f"--train_steps={steps}", "--eval_steps=1"]
    if size == "tiny":
        flags.append(f"--hparams={TINY_HPARAMS}")
    start = time.time()
    process = subprocess.Popen(command("trainer", folder, *flags), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(messages)
    return run, _time_of_first_step(run) - start, usage.ru_maxrss * 1024 / 1e9


def _time_of_first_step(run: Path) -> float:
    """The time at which the first step's scalars were recorded."""
    import tensorflow as tf

    (path,) = run.glob("events.*")
    events = map(tf.compat.v1.Event.FromString, tf.compat.v1.io.tf_record_iterator(str(path)))
    return next(event.wall_time for event in events if event.step == 1 and event.summary.value)


def rows(size: str) -> Iterator[Result]:
    question = "from t2t-trainer to the first step of microworld's eight problems, multimodel_tiny"
    if not hasattr(os, "wait4"):
        yield LeftOut(question, "this system does not tell a process's peak memory")
        return
    with shared_folder() as folder:
        make_data(folder, size)
        _, seconds, memory = trained_run(folder, size)
    yield over_product(question, Timing(seconds, None), size, target_seconds=20)
    yield Row("peak memory of that training", memory, "GB", "1 GB", memory, None, 1.8)


if __name__ == "__main__":
    main(rows)
