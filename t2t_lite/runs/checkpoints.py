"""Writes, verifies, restores and prunes the checkpoints of a run.

ckpt-N.index, ckpt-N.data-*   the tensors after N steps, in TensorFlow's format
ckpt-N.json                   the host's state, the best step so far, sizes and SHA-256 of the others, its own SHA-256

The JSON is written last and renamed into place: a checkpoint without it is incomplete and is ignored.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from t2t_lite.data.manifest import sync, write_atomically
from t2t_lite.errors import UserError
from t2t_lite.literal_path import literal_path
from t2t_lite.progress import print_status
from t2t_lite.runs.memory import explain_out_of_memory
from t2t_lite.runs.moving_average import load_moving_average

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Restored(NamedTuple):
    """The step and the host's state of a restored checkpoint."""

    step: int  # steps trained; 0 if there is no checkpoint
    state: dict[str, Any]  # as passed to `save`


class _Damaged(Exception):
    """A checkpoint is incomplete or damaged; the text says which file."""


class Checkpoints:
    """The checkpoints of a run: the last ones and the best one.

        checkpoints = Checkpoints(Path("run"), model, optimizer)
        step, state = checkpoints.restore()
        checkpoints.save(step + 1, {"draw": ...})

    Args:
      folder: the run's folder.
      model: the model whose weights are saved and restored.
      optimizer: a tf.Module whose variables are saved and restored too; None for the weights alone.
      keep: how many of the last checkpoints to keep.
    """

    def __init__(self, folder: Path, model: Any, optimizer: Any = None, keep: int = 3):
        self.folder = folder / "checkpoints"
        self.last_step = 0  # the newest checkpoint that this object has written or read
        self._keep = keep
        self._model = model
        self._checkpoint = tf.train.Checkpoint(model=model, **({"optimizer": optimizer} if optimizer else {}))

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
        with self.report_write_errors(f"the checkpoint of step {step}"):
            if step and step == self.last_step:
                files = _read_description(self.folder, step)["files"]
            else:
                files = self._write_tensors(step)
            description = {"step": step, "best": best, "state": dict(state or {}), "files": files}
            write_atomically(self.folder / f"ckpt-{step}.json", _format_description(description).encode("utf8"))
        self.last_step = step
        self._prune(best)

    def restore(self) -> Restored:
        """Restores the newest intact checkpoint, if there is one; prints a line if newer ones are damaged.

        Raises:
          UserError: all checkpoints are damaged, or the checkpoint is of another model.
        """
        description = self._newest_intact()
        return Restored(0, {}) if description is None else self._read(description)

    def restore_weights(self, step: int | None = None) -> int:
        """Restores the weights, or their moving averages if the checkpoint has them; returns its step.

        Args:
          step: the checkpoint to restore; None for the newest intact one.

        Raises:
          UserError: there is no such checkpoint, it is damaged, or it is of another model.
        """
        try:
            description = self._newest_intact() if step is None else _verified(self.folder, step)
        except _Damaged as e:
            steps = ", ".join(map(str, sorted(finished_steps(self.folder.parent)))) or "none"
            raise UserError(f"{self.folder}: {e}; checkpoints there are of steps: {steps}") from e
        if description is None:
            raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
        step = self._read(description).step
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
            last = f"the last good checkpoint is of step {self.last_step}" if self.last_step else "no checkpoint yet"
            failure = f"cannot write {what or 'the scalars'}: {reason or str(e).splitlines()[0]}"
            raise UserError(f"{self.folder.parent}: {failure}; {last}") from e

    def _read(self, description: Mapping[str, Any]) -> Restored:
        step = description["step"]
        prefix = self.folder / f"ckpt-{step}"
        try:
            with (
                literal_path(self.folder) as folder,
                explain_out_of_memory(f"the tensors of {prefix}", "use a machine with more memory"),
            ):
                status = self._checkpoint.read(str(folder / prefix.name))
                status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
            raise UserError(f"{prefix}: of another model: {str(e).splitlines()[0]}") from e
        status.expect_partial()
        self.last_step = step
        return Restored(step, description["state"])

    def _newest_intact(self) -> dict[str, Any] | None:
        """Returns the description of the newest intact checkpoint; prints a line that names the damaged ones."""
        damaged = []
        for step in sorted(_steps(self.folder, r"json|index|data-.*"), reverse=True):
            try:
                description = _verified(self.folder, step)
            except _Damaged as e:
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

    def _write_tensors(self, step: int) -> dict[str, dict[str, Any]]:
        """Writes the tensors and returns {file name: size and SHA-256}; removes its files if it fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_invalid(step)
        try:
            with literal_path(self.folder) as folder:
                self._checkpoint.write(str(folder / f"ckpt-{step}"))
            files = sorted(self.folder.glob(f"ckpt-{step}.*"))
            for path in files:
                sync(path)
            return {path.name: _fingerprint(path) for path in files}
        except BaseException:
            self._remove(step)
            raise

    def _prune(self, best: int | None) -> None:
        steps = sorted(finished_steps(self.folder.parent))
        for step in steps[: -self._keep]:
            if step != best:
                self._remove(step)

    def _remove_invalid(self, step: int) -> None:
        """Removes incomplete checkpoints, and those of later steps, which `restore` found damaged."""
        finished = finished_steps(self.folder.parent)
        for other in _steps(self.folder, r"json|index|data-.*"):
            if other >= step or other not in finished:
                self._remove(other)
        for path in [*self.folder.glob("ckpt-*_temp"), *self.folder.glob("ckpt-*.incomplete")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _remove(self, step: int) -> None:
        """Removes a checkpoint, its JSON first, so that what is left counts as incomplete."""
        (self.folder / f"ckpt-{step}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"ckpt-{step}.*"):
            path.unlink()
        shutil.rmtree(self.folder / f"ckpt-{step}_temp", ignore_errors=True)


def finished_steps(run_folder: Path) -> set[int]:
    """Returns the steps of a run's complete checkpoints, without verifying their checksums."""
    return _steps(run_folder / "checkpoints", "json")


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
        with contextlib.suppress(_Damaged):
            best = _read_description(run_folder / "checkpoints", step)["best"]
            if best is not None:
                return int(best)
    raise UserError(f"--checkpoint: no checkpoint of {run_folder} was evaluated, so none is the best")


def _steps(folder: Path, ending: str) -> set[int]:
    """Returns the N of the files ckpt-N.ENDING."""
    matches = (re.fullmatch(rf"ckpt-(\d+)\.(?:{ending})", path.name) for path in folder.glob("ckpt-*"))
    return {int(match[1]) for match in matches if match}


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _format_description(description: Mapping[str, Any]) -> str:
    """Returns the text of ckpt-N.json: the description with its own checksum at the top."""
    checksum = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    return json.dumps({"sha256": checksum, **description}, indent=1) + "\n"


def _read_description(folder: Path, step: int) -> dict[str, Any]:
    """Reads ckpt-N.json.

    Raises:
      _Damaged: it is missing, or differs in any byte from what was written.
    """
    name = f"ckpt-{step}.json"
    try:
        text = (folder / name).read_text(encoding="utf8")
        description = json.loads(text)
        del description["sha256"]
        if _format_description(description) == text:
            return dict(description)
    except FileNotFoundError:
        raise _Damaged(f"ckpt-{step} was not finished, or {name} is missing") from None
    except (ValueError, TypeError, KeyError):
        pass
    raise _Damaged(f"ckpt-{step} is damaged ({name})")


def _verified(folder: Path, step: int) -> dict[str, Any]:
    """Returns the description of a checkpoint after comparing every file with its checksum.

    Raises:
      _Damaged: a file is missing or differs.
    """
    description = _read_description(folder, step)
    for name, written in description["files"].items():
        try:
            intact = _fingerprint(folder / name) == written
        except FileNotFoundError:
            raise _Damaged(f"ckpt-{step} is damaged ({name} is missing)") from None
        if not intact:
            raise _Damaged(f"ckpt-{step} is damaged ({name})")
    return description


def _disk_full_reason(error: Exception) -> str | None:
    """Returns the system's message for a full disk if the error reports one; in TensorFlow's it is in the text."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _DISK_FULL else None
    return next((os.strerror(number) for number in _DISK_FULL if os.strerror(number) in str(error)), None)
