"""Refuses a model whose weights and optimizer state cannot fit into the host's memory, before building it.

A machine that runs out of memory may kill the process without a message, so that this has to be known in advance. An
accelerator's memory is not checked here: TensorFlow raises an error when it is exhausted.
"""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.progress import format_bytes
from t2t_lite.runs.memory import smaller_model
from t2t_lite.runs.run import Run
from t2t_lite.training.devices import Devices
from t2t_lite.training.dry_run import persistent_bytes

# Files that hold the memory limit of a container (cgroup v2 and v1).
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def check_memory(run: Run, devices: Devices) -> None:
    """Compares the bytes of weights and optimizer state, a lower bound of what training needs, with the host's memory.

    Raises:
      UserError: they are more than the machine, a container or `ulimit -v` allows.
    """
    if tf.config.list_logical_devices("GPU"):
        return
    try:
        with keras.StatelessScope(initialize_variables=False):  # variables get shapes but no memory
            model = run.build_model()
    except UserError:
        raise
    except Exception:  # a user's model may need its variables' values, which are missing here
        return
    needed = {part: len(devices.local) * size for part, size in persistent_bytes(model, run.hparams).items()}
    available = host_memory()
    if sum(needed.values()) > available:
        raise UserError(_explain(run.hparams, needed, available))


def host_memory() -> int:
    """Returns the bytes that this process can use at most: the least of physical memory with swap and the limits."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    limits = [limit for limit in limits if limit != resource.RLIM_INFINITY]
    for path in _CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min([_physical_memory(), *limits])


def _physical_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
        return sizes["MemTotal"] + sizes.get("SwapTotal", 0)
    except (OSError, ValueError, KeyError, IndexError):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _explain(hparams: HParams, needed: Mapping[str, int], available: int) -> str:
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in needed.items())
    advice = smaller_model(hparams)
    if hparams.optimizer != "adafactor":
        advice += f", or set optimizer=adafactor instead of {hparams.optimizer}"
    return (
        f"memory does not suffice for the model: it needs at least {format_bytes(sum(needed.values()))} ({parts}), "
        f"and at most {format_bytes(available)} are available; {advice}"
    )
