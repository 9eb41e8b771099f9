"""SIGTERM and Ctrl-C: training saves and leaves at the next step."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from t2t_lite.errors import Stopped, UserError


class _Abandoned(Exception):
    """Work that can be done again is broken off."""


class StopSignals:
    """Turns SIGTERM and Ctrl-C into a wish that the loop asks for; Ctrl-C once more leaves at once.

        with StopSignals() as stop:
            stop.defer()
            while not stop.requested:
                ...

    Until `defer`, and again when an exception leaves the block, a signal ends the work where it is.

    Raises:
      Stopped: on leaving, where a signal came; its text says what is saved, its status is 143 or 130.
    """

    def __init__(self) -> None:
        self.signal: int | None = None  # the first that came
        self.elsewhere = False  # it came to another worker
        self.saved_step = 0  # for the message
        self._waits = self._raised = False
        self._before: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether training is to stop."""
        return self.signal is not None

    def defer(self) -> None:
        """From here on signals wait until the loop asks."""
        self._waits = True

    def requested_anywhere(self, any_worker: Callable[[bool], bool]) -> bool:
        """Whether any worker of the run is to stop; all stop together, as if the signal had come to each.

        Args:
          any_worker: tells each worker whether any of them said yes.
        """
        agreed = any_worker(self.requested)  # a signal that comes meanwhile waits for the next step
        if agreed and not self.requested:
            self.signal, self.elsewhere = signal.SIGTERM, True
        return agreed

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[Callable[[], None]]:
        """What is inside may be broken off: a resumed run does it again.

        Yields:
          To be called now and then: leaves the block if a signal has come. The signal itself must not: within
          TensorFlow an exception out of nowhere becomes an error of another kind, and a weight half assigned stays so.
        """

        def check() -> None:
            if self.requested:
                raise _Abandoned

        with contextlib.suppress(_Abandoned):
            yield check

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        # Raised within TensorFlow, KeyboardInterrupt may come out as another error, such as SystemError.
        if self.signal is not None and (e is None or (self._raised and not isinstance(e, UserError))):
            name = "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name
            name += " to another worker" * self.elsewhere
            saved = f"step {self.saved_step} is saved" if self.saved_step else "nothing is saved yet"
            raise Stopped(f"stopped by {name}; {saved}", 128 + self.signal) from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.signal is not None
        self.signal = self.signal or number
        if not self._waits or (again and number == signal.SIGINT):
            self._raised = True
            raise KeyboardInterrupt
        if not again:
            # Not print: the signal may have come while something else was being printed.
            os.write(2, b"stopping soon; Ctrl-C leaves at once\n")
