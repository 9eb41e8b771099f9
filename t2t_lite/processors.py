"""The processors that this process may use."""

import os


def processors() -> list[int]:
    """Their numbers; fewer than the machine's where a container or `taskset` allows only some."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
