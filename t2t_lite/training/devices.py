"""Data-parallel training on one device, the GPUs of this machine, or those of several machines (tf.distribute).

Each replica is a complete copy of model and optimizer on its device, made of ordinary variables, which know nothing of
the other replicas. A strategy of tf.distribute finds the devices and does the all-reduce. All replicas apply the same
sums, so the copies stay equal.
"""

import functools
import json
import math
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from t2t_lite.errors import UserError
from t2t_lite.progress import print_status
from t2t_lite.runs.memory import is_out_of_memory

_START_SECONDS = 600  # how long a worker waits for the others to start
_MAX_PACKED = 2**20  # tensors of at most this many elements are packed into one for an all-reduce
_BASE = 2**24  # integers below it are exact in a float32
_WORKER_LOST = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError),
    *(tf.errors.InternalError, tf.errors.UnknownError),
)


@dataclass(frozen=True)
class Cluster:
    """The cluster of TF_CONFIG: the workers' addresses in order, and the index of this process."""

    workers: tuple[str, ...]
    index: int

    @classmethod
    def from_environment(cls) -> "Cluster":
        """Reads TF_CONFIG.

        Raises:
          UserError: it is missing or wrong; the text has an example.
        """
        example = """'{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'"""
        text = os.environ.get("TF_CONFIG", "")
        if not text:
            raise UserError(f"--distribute=multi_worker: the environment has no TF_CONFIG; set it to {example}")
        try:
            config = json.loads(text)
        except ValueError as e:
            raise UserError(f"TF_CONFIG: not JSON: {e}; expected {example}") from e
        try:
            addresses, task = config["cluster"], config["task"]
            workers = [str(address) for kind in ("chief", "worker") for address in addresses.get(kind, [])]
            before = len(addresses.get("chief", [])) if task["type"] == "worker" else 0
            own, index = addresses.get(task["type"], []), int(task["index"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"TF_CONFIG: expected a cluster and a task, as in {example}") from None
        if task["type"] not in ("chief", "worker") or not workers:
            raise UserError(f"TF_CONFIG: tasks and cluster must be of type worker, or one chief: as in {example}")
        if not 0 <= index < len(own):
            raise UserError(f"TF_CONFIG: there is no task {index} of type {task['type']}: the cluster has {len(own)}")
        return cls(tuple(workers), before + index)


class Devices:
    """The devices that a run trains on, and the collective operations over them. Made by `open_devices`.

    Attributes:
      local: the names of this process's devices, one for each local replica.
      replicas: the number of replicas of all workers.
      first: the number of this process's first replica.
      is_chief: whether this process writes files and shows progress.
    """

    def __init__(self, strategy: Any = None, cluster: Cluster | None = None):
        self.local: tuple[str, ...] = tuple(strategy.extended.worker_devices) if strategy else ("",)
        self.replicas: int = strategy.num_replicas_in_sync if strategy else 1
        self.workers = len(cluster.workers) if cluster else 1
        self.worker = cluster.index if cluster else 0
        self.first = self.worker * len(self.local)
        self.is_chief = self.worker == 0
        self._strategy = strategy
        self._threads = ThreadPoolExecutor(len(self.local)) if len(self.local) > 1 else None

    def describe(self) -> str:
        """Returns a text such as `4 replicas, 2 on each of 2 workers`."""
        text = "1 replica" if self.replicas == 1 else f"{self.replicas} replicas"
        return text if self.workers == 1 else f"{text}, {len(self.local)} on each of {self.workers} workers"

    def build_replicas(self, make: Callable[[], Any]) -> list[Any]:
        """Calls make() on each local device, one after another: building reads random states that all share."""
        made = []
        for device in self.local:
            with tf.device(device or None):
                made.append(make())
        return made

    def run(self, work: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        """Calls work(local replica number, *its arguments) for all local replicas in parallel, each on its device.

        Args:
          work: the function to call.
          *arguments: lists with one argument for each local replica.
        """

        def on_device(number: int, *own_arguments: Any) -> Any:
            with tf.device(self.local[number] or None):
                return work(number, *own_arguments)

        numbers = range(len(self.local))
        if self._threads is None:
            return list(map(on_device, numbers, *arguments))
        return list(self._threads.map(on_device, numbers, *arguments))

    def all_reduce(self, values: Sequence[Sequence[tf.Tensor]]) -> list[list[tf.Tensor]]:
        """Sums tensors over all replicas.

        Args:
          values: the float32 tensors of each local replica, of the same shapes on all.

        Returns:
          The sums for each local replica, equal to the bit on all.

        Raises:
          UserError: another worker has ended.
        """
        if self.replicas == 1:
            return [list(row) for row in values]
        small = [i for i, value in enumerate(values[0]) if value.shape.num_elements() <= _MAX_PACKED]
        large = [i for i in range(len(values[0])) if i not in set(small)]

        def pack(_: int, row: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            flat = [_concatenate([row[i] for i in small])] if small else []
            return flat + [row[i] for i in large]

        def unpack(_: int, row: Sequence[tf.Tensor], like: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            tensors: dict[int, tf.Tensor] = dict(zip(large, row[1:] if small else row, strict=True))
            if small:
                parts = _split(row[0], tuple(tuple(like[i].shape) for i in small))
                tensors |= dict(zip(small, parts, strict=True))
            return [tensors[i] for i in range(len(like))]

        return self.run(unpack, self._batch_reduce(self.run(pack, values)), values)

    def _batch_reduce(self, rows: list[list[tf.Tensor]]) -> list[list[tf.Tensor]]:
        strategy = self._strategy

        def of_replica(context: Any, i: int) -> tf.Tensor:
            return rows[context.replica_id_in_sync_group - self.first][i]

        spread = [
            strategy.experimental_distribute_values_from_function(functools.partial(of_replica, i=i))
            for i in range(len(rows[0]))
        ]
        try:
            sums = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, [(value, value) for value in spread])
            return [list(row) for row in zip(*map(strategy.experimental_local_results, sums), strict=True)]
        except _WORKER_LOST as e:
            if self.workers == 1 or is_out_of_memory(e):
                raise
            raise UserError(
                "another worker has ended or cannot be reached, so this one ends too; "
                "start all of them again: the run goes on from its last checkpoint"
            ) from e

    def broadcast(self, copies: Sequence[Sequence[tf.Variable]]) -> None:
        """Copies the variables of replica 0 to all others.

        Args:
          copies: the variables of each local replica, in the same order on all.

        Raises:
          UserError: another worker has ended.
        """
        for number in range(1, len(self.local)):
            for mine, first in zip(copies[number], copies[0], strict=True):
                mine.assign(first)
        if self.workers == 1:
            return
        for column in zip(*copies, strict=True):
            parts = _as_floats(column[0])
            zeros = [tf.zeros_like(part) for part in parts]
            # Replica 0 adds its values, all others add zeros.
            rows = [parts if self.first + number == 0 else zeros for number in range(len(self.local))]
            for variable, row in zip(column, self.all_reduce(rows), strict=True):
                variable.assign(_from_floats(row, variable.dtype))

    def check_same(self, what: str, number: int) -> None:
        """Compares a number, such as a checksum of `what`, between workers.

        Raises:
          UserError: it differs.
        """
        if self.workers == 1:
            return
        row = np.zeros([self.workers, 2], np.float32)
        row[self.worker] = [number & 0xFFFF, number >> 16 & 0xFFFF]
        rows = [tf.constant(row if i == 0 else np.zeros_like(row)) for i in range(len(self.local))]
        numbers = self.all_reduce([[value] for value in rows])[0][0].numpy()
        for worker in range(1, self.workers):
            if (numbers[worker] != numbers[0]).any():
                raise UserError(f"worker {worker} was started with other {what} than worker 0: all must have the same")

    def broadcast_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the chief's state, which is JSON-serializable, on all workers.

        Raises:
          UserError: another worker has ended.
        """
        if self.workers == 1:
            return state
        text = np.frombuffer(json.dumps(state).encode(), np.uint8).astype(np.float32)
        length = int(self._from_chief(np.array([len(text)], np.float32))[0])
        shared = self._from_chief(np.resize(text, length))
        chief_state: dict[str, Any] = json.loads(shared.astype(np.uint8).tobytes())
        return chief_state

    def gather(self, value: Any) -> list[Any]:
        """Returns the JSON-serializable values of all workers, in their order, on all workers.

        Raises:
          UserError: another worker has ended.
        """
        if self.workers == 1:
            return [value]

        def add_up(own: np.ndarray, columns: int) -> np.ndarray:
            """The table (workers, columns) of all workers' rows: each adds its own row to zeros."""
            table = np.zeros([self.workers, columns], np.float32)
            table[self.worker, : len(own)] = own
            rows = [tf.constant(table if i == 0 else np.zeros_like(table)) for i in range(len(self.local))]
            return np.asarray(self.all_reduce([[row] for row in rows])[0][0])

        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes = [int(high) * _BASE + int(low) for high, low in add_up(np.array(divmod(len(text), _BASE)), 2)]
        table = add_up(text, max(sizes)).astype(np.uint8)
        return [json.loads(row[:size].tobytes()) for row, size in zip(table, sizes, strict=True)]

    def any_worker(self, flag: bool) -> bool:
        """Returns whether the flag is set on any worker.

        Raises:
          UserError: another worker has ended.
        """
        return self.add_up(float(flag)) > 0

    def add_up(self, number: float) -> float:
        """Returns the sum of the numbers of all workers, which is exact for integers below 2^24.

        Raises:
          UserError: another worker has ended.
        """
        if self.workers == 1:
            return number
        rows = [tf.constant([number if i == 0 else 0.0]) for i in range(len(self.local))]
        return float(self.all_reduce([[row] for row in rows])[0][0][0])

    def _from_chief(self, values: np.ndarray) -> np.ndarray:
        """Returns the chief's values on all workers, as a sum to which the others add zeros."""
        zeros = np.zeros_like(values)
        rows = [tf.constant(values if self.first + i == 0 else zeros) for i in range(len(self.local))]
        return np.asarray(self.all_reduce([[row] for row in rows])[0][0])

    def barrier(self) -> None:
        """Returns when all workers have called it.

        Raises:
          UserError: another worker has ended.
        """
        if self.workers > 1:
            self.all_reduce([[tf.zeros([1])] for _ in self.local])

    def writable_folder(self, output_dir: Path) -> Path:
        """Returns the folder that this process writes to: the run's for the chief, a temporary one for others."""
        if self.is_chief:
            return output_dir
        self._temporary = tempfile.TemporaryDirectory(prefix="t2t_lite_worker_")
        return Path(self._temporary.name)


def open_devices(distribute: str = "auto", worker_gpu: int = 0) -> Devices:
    """Chooses the devices. Call it before TensorFlow creates any tensor, which fixes the devices.

    Args:
      distribute: "one_device"; "mirrored": the GPUs of this machine; "multi_worker": the workers of TF_CONFIG;
        "auto": "multi_worker" if TF_CONFIG names several workers, else "mirrored" if there are several replicas, else
        "one_device".
      worker_gpu: the replicas of this process; 0 for one per GPU. Without a GPU, the CPU is divided into that many.

    Raises:
      UserError: there are fewer GPUs, TF_CONFIG is wrong, or the other workers do not start.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and worker_gpu > len(gpus):
        raise UserError(f"--worker_gpu={worker_gpu}: this machine has {len(gpus)}")
    replicas = worker_gpu or max(len(gpus), 1)
    if distribute == "auto":
        several = bool(os.environ.get("TF_CONFIG")) and len(Cluster.from_environment().workers) > 1
        distribute = "multi_worker" if several else "mirrored" if replicas > 1 else "one_device"
    if distribute == "multi_worker":
        return _open_cluster(Cluster.from_environment(), gpus, worker_gpu)
    if distribute == "one_device" and worker_gpu > 1:
        raise UserError(f"--distribute=one_device: has one replica, not --worker_gpu={worker_gpu}")
    if distribute == "one_device" or replicas == 1:
        return Devices()
    kind = "GPU" if gpus else "CPU"
    if not gpus:
        _divide_cpu(replicas)
    return Devices(tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(replicas)]))


@functools.partial(tf.function, autograph=False)
def _concatenate(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """One vector of all elements. In a graph: hundreds of operations called from Python would delay each replica."""
    return tf.concat([tf.reshape(x, [-1]) for x in tensors], axis=0)


@functools.partial(tf.function, autograph=False)
def _split(vector: tf.Tensor, shapes: tuple[tuple[int, ...], ...]) -> list[tf.Tensor]:
    """The inverse of `_concatenate`."""
    parts = tf.split(vector, [math.prod(shape) for shape in shapes])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def _as_floats(x: tf.Variable) -> list[tf.Tensor]:
    """Returns float32 tensors that hold a variable exactly: one, or two for an integer of up to 48 bits."""
    if x.dtype == tf.float32:
        return [tf.convert_to_tensor(x)]
    return [tf.cast(x // _BASE, tf.float32), tf.cast(x % _BASE, tf.float32)]


def _from_floats(floats: Sequence[tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    if dtype == tf.float32:
        return floats[0]
    return tf.cast(floats[0], dtype) * _BASE + tf.cast(floats[1], dtype)


def _divide_cpu(parts: int) -> None:
    """Divides the CPU into logical devices."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * parts)
    except RuntimeError:  # TensorFlow has initialized its devices already, perhaps enough of them
        if len(tf.config.list_logical_devices("CPU")) < parts:
            raise UserError(
                f"--worker_gpu={parts}: TensorFlow has started with fewer devices in this process"
            ) from None


def _open_cluster(cluster: Cluster, gpus: Sequence[Any], worker_gpu: int) -> Devices:
    if not gpus and worker_gpu > 1:
        raise UserError(f"--worker_gpu={worker_gpu}: a worker without a GPU has one replica; leave the flag out")
    if gpus and worker_gpu:
        tf.config.set_visible_devices(gpus[:worker_gpu], "GPU")
    others = ", ".join(address for i, address in enumerate(cluster.workers) if i != cluster.index)
    print_status(f"worker {cluster.index} of {len(cluster.workers)}: waiting for {others}")

    def give_up() -> None:
        # TensorFlow waits in C++, where no Python exception can interrupt it.
        print_status(f"t2t-trainer: error: after {_START_SECONDS} s not all of these workers have started: {others}")
        os._exit(1)

    timer = threading.Timer(_START_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        return Devices(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
    except tf.errors.OpError as e:
        raise UserError(f"TF_CONFIG: cannot join the cluster as {cluster.workers[cluster.index]}: {e.message}") from e
    except RuntimeError as e:
        raise UserError(f"--distribute=multi_worker: {e}") from e
    finally:
        timer.cancel()
