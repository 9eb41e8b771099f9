"""Files that output flags name: plain files are replaced atomically; pipes, devices and descriptors are written to."""

import contextlib
import errno
import os
import shutil
import stat
import sys
import time
from pathlib import Path

from t2t_lite.errors import UserError
from t2t_lite.progress import print_status

_READER_SECONDS = 30  # that a named pipe may wait for a reader
_MAX_LINKS = 40  # as Linux
# Replacing fails with these, writing in place may not: the folder is read-only, the file a mount point, the name long.
_NOT_REPLACEABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENAMETOOLONG)


class OutputFile:
    """A file named by an output flag such as --json_out.

    Links are followed. A plain file is replaced atomically by `write`: until then it keeps its old content. Everything
    else (a named pipe, a device, an open descriptor such as /dev/stdout) is opened here and never replaced.

    Args:
      path: as the user gave it.
      flag: its name, for messages.

    Attributes:
      path: as given.
      plain: the plain file that is written, which need not exist yet; None for a pipe, a device or a descriptor.
      is_stdout: the content goes where standard output goes, so that nothing else should be printed there.

    Raises:
      UserError: it cannot be written.
    """

    def __init__(self, path: Path, flag: str):
        self.path, self._flag = path, flag
        self.plain: Path | None = None
        self.is_stdout = False
        try:
            target, descriptor = _follow_links(path)
            if descriptor is not None:
                self._descriptor = os.dup(descriptor)
                os.write(self._descriptor, b"")  # fails if it is open for reading only
            elif not target.parent.is_dir():
                raise self._error("no such folder")
            elif target.is_dir():
                raise self._error("a folder")
            elif not target.exists() or target.is_file():
                self.plain = target
                if not os.access(target if target.exists() else target.parent, os.W_OK):
                    raise self._error("no permission")
            else:
                self._descriptor = self._open(target)
        except OSError as e:
            raise self._error(e.strerror or str(e)) from e
        if self.plain is None:
            with contextlib.suppress(OSError):  # standard output is closed
                self.is_stdout = os.path.sameopenfile(self._descriptor, 1)

    def write(self, content: bytes) -> None:
        """Writes the whole content. To be called once.

        Raises:
          UserError: the disk is full, the reader of a pipe has gone, or similar.
        """
        try:
            if self.plain is not None:
                _replace(self.plain, content)
                return
            if sys.stdout is not None:
                sys.stdout.flush()  # it may be the same file
            with open(self._descriptor, "wb") as file:
                file.write(content)
        except OSError as e:
            raise self._error(e.strerror or str(e)) from e

    def _open(self, target: Path) -> int:
        """Opens a device, or a named pipe, for which it waits until a process reads it."""
        is_pipe = stat.S_ISFIFO(target.stat().st_mode)
        deadline = None
        while True:
            try:
                descriptor = os.open(target, os.O_WRONLY | os.O_NOCTTY | (os.O_NONBLOCK if is_pipe else 0))
                os.set_blocking(descriptor, True)
                return descriptor
            except OSError as e:
                if not is_pipe or e.errno != errno.ENXIO:
                    raise
            if deadline is None:
                print_status(f"--{self._flag}: waiting for a process that reads the pipe '{self.path}'")
                deadline = time.monotonic() + _READER_SECONDS
            if time.monotonic() > deadline:
                raise self._error(f"no process reads this pipe; start its reader (cat '{self.path}') first")
            time.sleep(0.1)

    def _error(self, reason: str) -> UserError:
        return UserError(f"--{self._flag}: cannot write '{self.path}': {reason}")


def _follow_links(path: Path) -> tuple[Path, int | None]:
    """Returns where a path leads, and the number of the open descriptor if it names one of this process.

    `Path.resolve` would follow /dev/stdout on to the file that standard output was redirected to; that file is to be
    continued, not replaced.
    """
    descriptors = {os.path.realpath("/dev/fd"), os.path.realpath("/proc/self/fd")}
    for _ in range(_MAX_LINKS):
        folder = os.path.realpath(path.parent)
        path = Path(folder, path.name)
        if folder in descriptors and path.name.isdecimal():
            return path, int(path.name)
        if not path.is_symlink():
            return path, None
        path = Path(folder, os.readlink(path))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _replace(path: Path, content: bytes) -> None:
    """Replaces a plain file atomically; writes in place if its folder does not allow that."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            part.unlink()
        if e.errno not in _NOT_REPLACEABLE:
            raise
        path.write_bytes(content)
