"""Checkpoints: tensors and the host's state, kept in the run's folder, each with the proof that it is whole.

ckpt-N.index, ckpt-N.data-*   the tensors after N steps, as TensorFlow writes them
ckpt-N.json                   the host's state, the best step so far, sizes and SHA-256 of the others, its own SHA-256

The JSON is written last and appears by a rename: a checkpoint without one was not finished, and does not count.
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
from t2t_lite.progress import print_status
from t2t_lite.runs.moving_average import load_moving_average

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Restored(NamedTuple):
    """What a checkpoint held beside the tensors."""

    step: int  # steps trained; 0 where there is no checkpoint
    state: dict[str, Any]  # of the host, as given to `save`


class _Damaged(Exception):
    """A checkpoint that is not whole; the text says why."""


class Checkpoints:
    """The checkpoints of a run: the last ones and the best one.

        checkpoints = Checkpoints(Path("run"), model, optimizer)
        step, state = checkpoints.restore()
        checkpoints.save(step + 1, {"draw": ...})

    Args:
      folder: the run's folder.
      model: whose weights they hold.
      optimizer: a tf.Module whose variables they hold; None where only the weights are wanted.
      keep: how many of the last to keep.
    """

    def __init__(self, folder: Path, model: Any, optimizer: Any = None, keep: int = 3):
        self.folder = folder / "checkpoints"
        self.last_step = 0  # the newest that this object has written or read
        self._keep = keep
        self._model = model
        self._checkpoint = tf.train.Checkpoint(model=model, **({"optimizer": optimizer} if optimizer else {}))

    def save(self, step: int, state: Mapping[str, Any] | None = None, best: int | None = None) -> None:
        """Writes a checkpoint; old ones go once it is whole, and so do damaged or half-written ones.

        Of a step that is saved already only the state is written: what an evaluation of it has told.

        Args:
          step: the number of steps trained.
          state: the host's state, JSON-able: whatever a resumed run needs that is no tensor.
          best: the step of the best checkpoint so far, which is kept.

        Raises:
          UserError: the disk is full, or cannot be written; the last good checkpoint is still whole.
        """
        with self.report_write_errors(f"the checkpoint of step {step}"):
            if step and step == self.last_step:
                files = _described(self.folder, step)["files"]
            else:
                files = self._write_tensors(step)
            described = {"step": step, "best": best, "state": dict(state or {}), "files": files}
            write_atomically(self.folder / f"ckpt-{step}.json", _text(described).encode("utf8"))
        self.last_step = step
        self._prune(best)

    def restore(self) -> Restored:
        """Reads the newest checkpoint that is whole, if there is one; says so where that is not the newest.

        Raises:
          UserError: there are checkpoints but none is whole, or it is of another model.
        """
        found = self._newest_whole()
        return Restored(0, {}) if found is None else self._read(found)

    def restore_weights(self, step: int | None = None) -> int:
        """Reads the newest weights that are whole, their moving averages where there are any. Returns the step.

        Args:
          step: take this checkpoint and no other.

        Raises:
          UserError: there is no checkpoint, none is whole, or it is of another model.
        """
        try:
            found = self._newest_whole() if step is None else _checked(self.folder, step)
        except _Damaged as e:
            steps = ", ".join(map(str, sorted(finished_steps(self.folder.parent)))) or "none"
            raise UserError(f"{self.folder}: {e}; checkpoints there are of steps: {steps}") from e
        if found is None:
            raise UserError(f"--output_dir: no checkpoint in {self.folder}; train first, or wait for the first one")
        step = self._read(found).step
        load_moving_average(self._model, self.folder / f"ckpt-{step}")
        return step

    @contextlib.contextmanager
    def report_write_errors(self, what: str = "") -> Iterator[None]:
        """Writing into the run's folder belongs inside: a full disk becomes an error that names the last checkpoint.

        Args:
          what: what is written; where it is named, every failure to write becomes such an error.

        Raises:
          UserError: the disk is full.
        """
        try:
            yield
        except (OSError, tf.errors.OpError) as e:
            reason = _reason(e)
            if reason is None and not what:
                raise
            kept = f"the last good checkpoint is of step {self.last_step}" if self.last_step else "no checkpoint yet"
            told = f"cannot write {what or 'the scalars'}: {reason or str(e).splitlines()[0]}"
            raise UserError(f"{self.folder.parent}: {told}; {kept}") from e

    def _read(self, described: Mapping[str, Any]) -> Restored:
        step = described["step"]
        prefix = self.folder / f"ckpt-{step}"
        try:
            status = self._checkpoint.read(str(prefix))
            status.assert_existing_objects_matched()
        except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
            raise UserError(f"{prefix}: of another model: {str(e).splitlines()[0]}") from e
        status.expect_partial()
        self.last_step = step
        return Restored(step, described["state"])

    def _newest_whole(self) -> dict[str, Any] | None:
        """The description of the newest whole checkpoint; what is passed over is said in one line."""
        passed = []
        for step in sorted(_steps(self.folder, r"json|index|data-.*"), reverse=True):
            try:
                found = _checked(self.folder, step)
            except _Damaged as e:
                passed.append(str(e))
                continue
            if passed:
                print_status(f"{self.folder}: {'; '.join(passed)}; ckpt-{step} is used")
            return found
        if finished_steps(self.folder.parent):
            raise UserError(
                f"{self.folder}: no checkpoint is whole: {'; '.join(passed)}; bring back a copy, or train anew into "
                "another --output_dir"
            )
        if passed:
            print_status(f"{self.folder}: {'; '.join(passed)}")
        return None

    def _write_tensors(self, step: int) -> dict[str, dict[str, Any]]:
        """Writes all but the description; returns what it is to say of the files. Leaves nothing where it fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear(step)
        try:
            self._checkpoint.write(str(self.folder / f"ckpt-{step}"))
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

    def _clear(self, step: int) -> None:
        """Removes what was not finished, and what was written after this step: `restore` found it damaged."""
        finished = finished_steps(self.folder.parent)
        for other in _steps(self.folder, r"json|index|data-.*"):
            if other >= step or other not in finished:
                self._remove(other)
        for path in [*self.folder.glob("ckpt-*_temp"), *self.folder.glob("ckpt-*.incomplete")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _remove(self, step: int) -> None:
        """Removes a checkpoint, the file that makes it one first."""
        (self.folder / f"ckpt-{step}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"ckpt-{step}.*"):
            path.unlink()
        shutil.rmtree(self.folder / f"ckpt-{step}_temp", ignore_errors=True)


def finished_steps(run_folder: Path) -> set[int]:
    """The steps of a run's checkpoints that were written to the end; whether they are whole still is not looked at."""
    return _steps(run_folder / "checkpoints", "json")


def chosen_step(run_folder: Path, which: str) -> int | None:
    """The step of the checkpoint that `--checkpoint` asks for: "latest" (None, for the newest whole one), "best", or N.

    Raises:
      UserError: it is none of these, or there is no best one: nothing was evaluated yet.
    """
    if which == "latest":
        return None
    if which.isdecimal():
        return int(which)
    if which != "best":
        raise UserError(f"--checkpoint: '{which}' is neither latest nor best nor a step")
    for step in sorted(finished_steps(run_folder), reverse=True):
        with contextlib.suppress(_Damaged):
            best = _described(run_folder / "checkpoints", step)["best"]
            if best is not None:
                return int(best)
    raise UserError(f"--checkpoint: no checkpoint of {run_folder} was evaluated, so none is the best")


def _steps(folder: Path, ending: str) -> set[int]:
    """The N of the files ckpt-N.ENDING."""
    found = (re.fullmatch(rf"ckpt-(\d+)\.(?:{ending})", path.name) for path in folder.glob("ckpt-*"))
    return {int(match[1]) for match in found if match}


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _text(described: Mapping[str, Any]) -> str:
    """A description as its file holds it, with its own checksum at the top."""
    checksum = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return json.dumps({"sha256": checksum, **described}, indent=1) + "\n"


def _described(folder: Path, step: int) -> dict[str, Any]:
    """Reads the description of a checkpoint.

    Raises:
      _Damaged: it is missing, or not byte for byte what was written.
    """
    name = f"ckpt-{step}.json"
    try:
        text = (folder / name).read_text(encoding="utf8")
        described = json.loads(text)
        del described["sha256"]
        if _text(described) == text:
            return dict(described)
    except FileNotFoundError:
        raise _Damaged(f"ckpt-{step} was not finished, or {name} is missing") from None
    except (ValueError, TypeError, KeyError):
        pass
    raise _Damaged(f"ckpt-{step} is damaged ({name})")


def _checked(folder: Path, step: int) -> dict[str, Any]:
    """The description of a checkpoint, every file of which is what was written.

    Raises:
      _Damaged: one is not.
    """
    described = _described(folder, step)
    for name, written in described["files"].items():
        try:
            whole = _fingerprint(folder / name) == written
        except FileNotFoundError:
            raise _Damaged(f"ckpt-{step} is damaged ({name} is missing)") from None
        if not whole:
            raise _Damaged(f"ckpt-{step} is damaged ({name})")
    return described


def _reason(error: Exception) -> str | None:
    """What a full disk is called, where the error is of one; TensorFlow's errors have it in their text."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _FULL else None
    return next((os.strerror(number) for number in _FULL if os.strerror(number) in str(error)), None)
