"""Writes, verifies, restores and prunes the checkpoints of a run; checkpoint_files.py describes their files."""

import concurrent.futures
import contextlib
import copy
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.data.manifest import sync, write_atomically
from t2t_lite.errors import UserError
from t2t_lite.literal_path import literal_path
from t2t_lite.progress import print_status
from t2t_lite.runs.checkpoint_files import (
    OPTIMIZER,
    Damaged,
    Variables,
    assign_tensors,
    fingerprint,
    format_description,
    read_description,
    steps_of_files,
    tracked_variables,
    verified_description,
    write_tensors,
)
from t2t_lite.runs.memory import explain_out_of_memory
from t2t_lite.runs.moving_average import AVERAGES, load_moving_average

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # in the files that tf.train.Checkpoint writes


class Restored(NamedTuple):
    """The step and the host's state of a restored checkpoint."""

    step: int  # steps trained; 0 if there is no checkpoint
    state: dict[str, Any]  # as passed to `save`


class _Cancelled(Exception):
    """The writing of a checkpoint was cancelled."""


class _Copy(NamedTuple):
    """Copies of tensors in host memory, for one pair of files."""

    suffix: str  # of the files' names, after ckpt-N
    keys: list[str]
    tensors: list[tf.Tensor]


class Checkpoints:
    """The checkpoints of a run: the last ones and the best one.

        checkpoints = Checkpoints(Path("run"), model, optimizer)
        step, state = checkpoints.restore()
        with checkpoints:
            checkpoints.save_in_background(step + 1, {"draw": ...})

    Entering the block removes the incomplete checkpoint that a killed process left. Leaving it waits for the checkpoint
    being written and raises its error; KeyboardInterrupt cancels it.

    Args:
      folder: the run's folder.
      model: the model whose weights are saved and restored.
      optimizer: a tf.Module whose variables are saved and restored too; None for the weights alone.
      keep: how many of the last checkpoints to keep.
    """

    def __init__(self, folder: Path, model: Any, optimizer: Any = None, keep: int = 3):
        self.folder = folder / "checkpoints"
        self.last_step = 0  # the newest checkpoint that this object has read, written or begun to write
        self._complete_step = 0  # the newest one that it has read, or written completely
        self._keep = keep
        self._model, self._optimizer = model, optimizer
        self._saved_at = time.monotonic()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")  # starts its thread when first used
        self._writing: concurrent.futures.Future[None] | None = None
        self._cancelled = threading.Event()

    @property
    def minutes_since_save(self) -> float:
        """The minutes since tensors were last saved, or since this object was made."""
        return (time.monotonic() - self._saved_at) / 60

    def tensor_bytes(self) -> int:
        """Returns the bytes of the tensors in a checkpoint."""
        variables = [variable for part in self._variables().values() for variable in part.values()]
        return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)

    def save(self, step: int, state: Mapping[str, Any] | None = None, best: int | None = None) -> None:
        """Writes a checkpoint, then removes old, damaged and incomplete ones.

        If the step is saved already, writes only the new state, which an evaluation of the step has changed.

        Args:
          step: the number of steps trained.
          state: the host's state, JSON-serializable: whatever a resumed run needs beside tensors.
          best: the step of the best checkpoint so far, which is kept.

        Raises:
          UserError: the disk is full, or cannot be written; the last good checkpoint is unchanged.
        """
        self.save_in_background(step, state, best)
        self.wait()

    def save_in_background(
        self,
        step: int,
        state: Mapping[str, Any] | None = None,
        best: int | None = None,
        on_saved: Callable[[], object] = lambda: None,
    ) -> None:
        """Copies the tensors to host memory, and begins to write the checkpoint in a thread; else as `save`.

        Waits first for the checkpoint being written, so that there is one copy at most. Its cost is the memory of
        weights, averages and optimizer state until they are written. On a CPU the copy is made on write: TensorFlow
        copies a variable when a training step first changes it.

        Args:
          step, state, best: as of `save`.
          on_saved: called in the thread when the checkpoint is complete.

        Raises:
          UserError: the previous checkpoint could not be written, or memory does not suffice for the copy. An error of
            this one is raised by the next call of `save`, `save_in_background`, `raise_error` or `wait`.
        """
        description = {"step": step, "best": best, "state": copy.deepcopy(dict(state or {}))}
        previous, tensors = None, None
        if step and step == self.last_step:
            self.raise_error()
            previous = self._writing
        else:
            self.wait()
            tensors = self._copy_tensors()
            self._saved_at = time.monotonic()
        self.last_step = step
        self._writing = self._writer.submit(self._write, description, tensors, previous, on_saved)

    def raise_error(self) -> None:
        """Raises UserError if the checkpoint being written has failed; does not wait for it."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Waits until the checkpoint being written is complete; KeyboardInterrupt cancels it.

        Raises:
          UserError: it could not be written.
        """
        if self._writing is None:
            return
        try:
            self._writing.result()
        except KeyboardInterrupt:
            self._cancel()
            raise
        except BaseException:
            self.last_step = self._complete_step
            raise
        finally:
            self._writing = None

    def __enter__(self) -> "Checkpoints":
        self._remove_incomplete()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        if e is None:
            self.wait()
        elif isinstance(e, KeyboardInterrupt):
            self._cancel()
        else:
            try:
                self.wait()
            except UserError as error:  # shown beside the error that ended the block
                print_status(str(error))

    def restore(self) -> Restored:
        """Restores the newest intact checkpoint, if there is one; prints a line if newer ones are damaged.

        Raises:
          UserError: all checkpoints are damaged, or the checkpoint is of another model.
        """
        description = self._newest_intact(weights_only=False)
        return Restored(0, {}) if description is None else self._read(description, weights_only=False)

    def restore_weights(self, step: int | None = None) -> int:
        """Restores the weights, or their moving averages if the checkpoint has them; returns its step.

        Neither reads nor verifies the optimizer's files.

        Args:
          step: the checkpoint to restore; None for the newest intact one.

        Raises:
          UserError: there is no such checkpoint, it is damaged, or it is of another model.
        """
        try:
            description = (
                self._newest_intact() if step is None else verified_description(self.folder, step, weights_only=True)
            )
        except Damaged as e:
            steps = ", ".join(map(str, sorted(finished_steps(self.folder.parent)))) or "none"
            raise UserError(f"{self.folder}: {e}; checkpoints there are of steps: {steps}") from e
        if description is None:
            raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
        step = self._read(description, weights_only=True).step
        load_moving_average(self._model, self.folder / f"ckpt-{step}")
        return step

    @contextlib.contextmanager
    def report_write_errors(self, what: str = "") -> Iterator[None]:
        """Turns a full disk inside the block into an error that names the last good checkpoint.

        Args:
          what: what the block writes. If it is given, every OSError and TensorFlow error becomes such an error; else
            only a full disk does.

        Raises:
          UserError: the disk is full, or `what` cannot be written.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as e:
            reason = _disk_full_reason(e)
            if reason is None and not what:
                raise
            step = self._complete_step
            last = f"the last good checkpoint is of step {step}" if step else "no checkpoint yet"
            failure = f"cannot write {what or 'the scalars'}: {reason or str(e).splitlines()[0]}"
            raise UserError(f"{self.folder.parent}: {failure}; {last}") from e

    def _variables(self, weights_only: bool = False) -> dict[str, Variables]:
        """Returns {suffix of the files' names: the variables in these files}."""
        weights = tracked_variables("model", self._model)
        if weights_only or self._optimizer is None:
            return {"": weights}
        others = tracked_variables("optimizer", self._optimizer, without=weights)
        averages = {key: others.pop(key) for key in list(others) if key.startswith(AVERAGES)}
        return {"": weights | averages} | ({OPTIMIZER: others} if others else {})

    def _read(self, description: Mapping[str, Any], weights_only: bool) -> Restored:
        step = description["step"]
        prefix = self.folder / f"ckpt-{step}"
        try:
            with (
                literal_path(self.folder) as folder,
                explain_out_of_memory(f"the tensors of {prefix}", "use a machine with more memory"),
            ):
                reader = tf.train.load_checkpoint(str(folder / prefix.name))
                if reader.has_tensor(_OBJECT_GRAPH):
                    self._read_one_file(folder / prefix.name, weights_only)
                else:
                    for suffix, variables in self._variables(weights_only).items():
                        assign_tensors(variables, tf.train.load_checkpoint(str(folder / (prefix.name + suffix))))
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
            raise UserError(f"{prefix}: of another model: {str(e).splitlines()[0]}") from e
        self.last_step = self._complete_step = step
        return Restored(step, description["state"])

    def _read_one_file(self, prefix: Path, weights_only: bool) -> None:
        """Reads a checkpoint of version 0.1.0: one file for weights and optimizer state."""
        objects = {"model": self._model}
        if self._optimizer is not None and not weights_only:
            objects["optimizer"] = self._optimizer
        status = tf.train.Checkpoint(**objects).read(str(prefix))
        status.assert_existing_objects_matched()
        status.expect_partial()

    def _newest_intact(self, weights_only: bool = True) -> dict[str, Any] | None:
        """Returns the description of the newest intact checkpoint; prints a line that names the damaged ones."""
        damaged = []
        for step in sorted(steps_of_files(self.folder), reverse=True):
            try:
                description = verified_description(self.folder, step, weights_only)
            except Damaged as e:
                damaged.append(str(e))
                continue
            if damaged:
                print_status(f"{self.folder}: {'; '.join(damaged)}; ckpt-{step} is used")
            return description
        if finished_steps(self.folder.parent):
            raise UserError(
                f"{self.folder}: all checkpoints are damaged: {'; '.join(damaged)}; restore them from a backup, or "
                "train a new run in another --output_dir"
            )
        if damaged:
            print_status(f"{self.folder}: {'; '.join(damaged)}")
        return None

    def _copy_tensors(self) -> list[_Copy]:
        # With the CPU as its device, tf.identity copies from an accelerator.
        with (
            tf.device("CPU:0"),
            explain_out_of_memory("a copy of weights and optimizer state", "use a machine with more memory"),
        ):
            return [
                _Copy(suffix, list(variables), [tf.identity(variable) for variable in variables.values()])
                for suffix, variables in self._variables().items()
            ]

    def _write(
        self,
        description: dict[str, Any],
        copies: list[_Copy] | None,
        previous: "concurrent.futures.Future[None] | None",
        on_saved: Callable[[], object],
    ) -> None:
        """Writes a checkpoint, or its description alone if `copies` is None, and removes old ones; in the thread.

        Args:
          description: what ckpt-N.json holds, without the files.
          copies: the tensors.
          previous: the writing of the same checkpoint, if it has not been waited for.
          on_saved: called when the checkpoint is complete.
        """
        if previous is not None:
            previous.result()  # raises its error; it has ended, since there is one thread
        step = description["step"]
        with self.report_write_errors(f"the checkpoint of step {step}"):
            if copies is None:
                files = read_description(self.folder, step)["files"]
            else:
                files = self._write_tensors(step, copies)
            text = format_description(description | {"files": files})
            write_atomically(self.folder / f"ckpt-{step}.json", text.encode("utf8"))
        self._complete_step = step
        on_saved()
        self._prune(description["best"])

    def _write_tensors(self, step: int, copies: list[_Copy]) -> dict[str, dict[str, Any]]:
        """Writes the tensors and returns {file name: size and SHA-256}; removes its files if it fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_invalid(step)
        try:
            with literal_path(self.folder) as folder:
                for suffix, keys, tensors in copies:
                    write_tensors(folder / f"ckpt-{step}{suffix}", keys, tensors)
                    tensors.clear()  # frees their memory
                    self._raise_if_cancelled()
            files = sorted(self.folder.glob(f"ckpt-{step}.*"))
            for path in files:
                sync(path)
            return {path.name: fingerprint(path, self._raise_if_cancelled) for path in files}
        except BaseException:
            self._remove(step)
            raise

    def _cancel(self) -> None:
        """Stops the writing of a checkpoint at the end of its current file, and removes what was written."""
        if self._writing is not None:
            self._cancelled.set()
            concurrent.futures.wait([self._writing])
            self._cancelled.clear()
        self._writing, self.last_step = None, self._complete_step

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled

    def _prune(self, best: int | None) -> None:
        steps = sorted(finished_steps(self.folder.parent))
        for step in steps[: -self._keep]:
            if step != best:
                self._remove(step)

    def _remove_invalid(self, step: int) -> None:
        """Removes incomplete checkpoints, and those of this step and later ones, which `restore` found damaged."""
        self._remove_incomplete()
        for other in steps_of_files(self.folder):
            if other >= step:
                self._remove(other)

    def _remove_incomplete(self) -> None:
        """Removes what a killed process left: files of checkpoints without their JSON, and files half written."""
        for step in steps_of_files(self.folder) - finished_steps(self.folder.parent):
            self._remove(step)
        for path in self.folder.glob("ckpt-*.incomplete"):
            path.unlink()

    def _remove(self, step: int) -> None:
        """Removes a checkpoint, its JSON first, so that what is left counts as incomplete."""
        (self.folder / f"ckpt-{step}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"ckpt-{step}.*"):
            path.unlink()
        shutil.rmtree(self.folder / f"ckpt-{step}_temp", ignore_errors=True)  # version 0.1.0 wrote there


def finished_steps(run_folder: Path) -> set[int]:
    """Returns the steps of a run's complete checkpoints, without verifying their checksums."""
    return steps_of_files(run_folder / "checkpoints", r"\.json")


def chosen_step(run_folder: Path, which: str) -> int | None:
    """Returns the step that `--checkpoint` names: "latest" (None: the newest intact checkpoint), "best", or a number.

    Raises:
      UserError: it is none of these, or it is "best" and no checkpoint was evaluated yet.
    """
    if which == "latest":
        return None
    if which.isdecimal():
        return int(which)
    if which != "best":
        raise UserError(f"--checkpoint: '{which}' is neither latest nor best nor a step")
    for step in sorted(finished_steps(run_folder), reverse=True):
        with contextlib.suppress(Damaged):
            best = read_description(run_folder / "checkpoints", step)["best"]
            if best is not None:
                return int(best)
    raise UserError(f"--checkpoint: no checkpoint of {run_folder} was evaluated, so none is the best")


def _disk_full_reason(error: Exception) -> str | None:
    """Returns the system's message for a full disk if the error reports one; in TensorFlow's it is in the text."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _DISK_FULL else None
    return next((os.strerror(number) for number in _DISK_FULL if os.strerror(number) in str(error)), None)
