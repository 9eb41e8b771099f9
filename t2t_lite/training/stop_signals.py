"""Turns SIGTERM and Ctrl-C into a request to save and stop after the current step."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

from t2t_lite.errors import Stopped, UserError


class _Interrupted(Exception):
    """Leaves an interruptible block."""


class StopSignals:
    """Catches SIGTERM and Ctrl-C for the training loop to ask for; a second Ctrl-C interrupts at once.

        with StopSignals() as stop:
            stop.defer()
            while not stop.requested:
                ...

    Before `defer`, a signal raises KeyboardInterrupt where the program is.

    Raises:
      Stopped: on leaving the block after a signal; its text says which step is saved, its status is 143 or 130.
    """

    def __init__(self) -> None:
        self.signal: int | None = None  # the first signal received
        self.elsewhere = False  # whether another worker received it
        self.saved_step = 0  # the last step saved, for the message
        self._deferred = self._raised = False
        self._previous_handlers: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether training should stop."""
        return self.signal is not None

    def defer(self) -> None:
        """From now on signals only set `requested`."""
        self._deferred = True

    def requested_anywhere(self, any_worker: Callable[[bool], bool]) -> bool:
        """Returns whether any worker received a signal; all workers then stop as if each had received it.

        Args:
          any_worker: returns to each worker whether any of them passed True.
        """
        anywhere = any_worker(self.requested)  # a signal received in the meantime counts at the next step
        if anywhere and not self.requested:
            self.signal, self.elsewhere = signal.SIGTERM, True
        return anywhere

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[Callable[[], None]]:
        """A block of work that may be left half done, because a resumed run repeats it.

        Yields:
          A function to call now and then in the block, which leaves the block if a signal was received. The signal
          handler must not do so itself: inside TensorFlow its exception would come out as another error, and a weight
          would stay half assigned.
        """

        def check() -> None:
            if self.requested:
                raise _Interrupted

        with contextlib.suppress(_Interrupted):
            yield check

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # other threads cannot set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        # A KeyboardInterrupt raised inside TensorFlow may come out as another error, such as SystemError.
        if self.signal is not None and (e is None or (self._raised and not isinstance(e, UserError))):
            name = "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name
            name += " to another worker" * self.elsewhere
            saved = f"step {self.saved_step} is saved" if self.saved_step else "nothing is saved yet"
            raise Stopped(f"stopped by {name}; {saved}", 128 + self.signal) from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        repeated = self.signal is not None
        self.signal = self.signal or number
        if not self._deferred or (repeated and number == signal.SIGINT):
            self._raised = True
            raise KeyboardInterrupt
        if not repeated:
            # os.write, because print is not reentrant and the signal may have interrupted one.
            os.write(2, b"stopping after this step; Ctrl-C again stops at once\n")
