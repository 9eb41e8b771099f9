"""Refuses a model whose weights, optimizer state and gradients cannot fit into the host's memory.

A machine that runs out of memory may kill the process without a message, so that this has to be known in advance. An
accelerator's memory is not checked here: TensorFlow raises an error when it is exhausted.
"""

import contextlib
import os
import re
import resource
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.progress import format_bytes
from t2t_lite.runs.memory import smaller_model
from t2t_lite.runs.run import Run
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import gradient_bytes, persistent_bytes
from t2t_lite.training.freeze import freeze
from t2t_lite.training.shapes_only import shapes_only

# Files that hold the memory limit of a container (cgroup v2 and v1).
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_memory(run: Run, devices: Devices) -> None:
    """Compares weights, optimizer state and the body's gradients with the host's memory.

    They are a lower bound of what training needs.

    Raises:
      UserError: they are more than the machine, a container or `ulimit -v` allows.
    """
    if tf.config.list_logical_devices("GPU"):
        return
    try:
        with shapes_only():
            model = run.build_model()
    except UserError:
        raise
    except Exception:  # a user's model may need its variables' values, which are missing here
        return
    freeze([model], run.problems(), run.hparams.freeze)
    needed = persistent_bytes(model, run.hparams)
    if hasattr(model, "body"):  # every problem trains all of it that is not frozen
        needed["gradients"] = gradient_bytes(model.body)
    needed = {part: len(devices.local) * size for part, size in needed.items()}
    available = available_memory()
    if sum(needed.values()) > available:
        raise UserError(_explain(run.hparams, needed, available))


def available_memory() -> int:
    """Returns the bytes that this process can allocate: physical memory with swap, or the least of the limits."""
    used = _proc_sizes("self/status")
    resident = used.get("VmRSS", 0)
    limits = [_physical_memory() - resident]
    for kind, size in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            limits.append(limit - used.get(size, 0))
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            limits.append(int(path.read_text()) - resident)
    return max(min(limits), 0)


def _physical_memory() -> int:
    sizes = _proc_sizes("meminfo")
    if "MemTotal" in sizes:
        return sizes["MemTotal"] + sizes.get("SwapTotal", 0)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # not Linux


def _proc_sizes(name: str) -> dict[str, int]:
    """Returns the sizes in bytes in a file of /proc whose lines are `NAME: SIZE kB`; {} if there is no such file."""
    try:
        text = (Path("/proc") / name).read_text()
    except OSError:
        return {}
    return {key: int(size) << 10 for key, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def _explain(hparams: HParams, needed: Mapping[str, int], available: int) -> str:
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in needed.items())
    advice = smaller_model(hparams)
    if hparams.optimizer != "adafactor":
        advice += f", or set optimizer=adafactor instead of {hparams.optimizer}"
    return (
        f"memory does not suffice for the model: it needs at least {format_bytes(sum(needed.values()))} ({parts}), "
        f"and at most {format_bytes(available)} are available; {advice}"
    )
