"""Answers while they are waited for: what is typed, and what comes through a pipe."""

import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2t_lite.decoding.answer import warnings_of
from t2t_lite.decoding.files import WarningSummary, format_line
from t2t_lite.decoding.inputs import describe_input
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem

if TYPE_CHECKING:
    from t2t_lite.decoding.decode import Answerer

_END: Any = object()
_STANDARD_INPUT = 0  # its descriptor
_TYPED_KEPT = 1000  # lines of history


def decode_interactive(answerer: "Answerer", problem: Problem, *, return_scores: bool) -> None:
    """Answers each line typed, until the end of input. An input that cannot be read is said and passed over.

    On a terminal lines can be edited and called back, those of earlier sittings too.
    """
    terminal = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # else a block of lines is lost with one bad byte
    if terminal:
        print(f"{problem.name}: type {describe_input(problem)}; Ctrl-D ends")
    with _history() if terminal else contextlib.nullcontext():
        while True:
            try:
                typed = input("> " if terminal else "")
                typed.encode()  # Python lets some bytes that are no text pass
            except EOFError:
                print(end="\n" if terminal else "")
                return
            except UnicodeError:
                print("error: not UTF-8 text", file=sys.stderr, flush=True)
                continue
            if typed.strip():
                _answer_typed(answerer, problem.name, typed, return_scores)


def _answer_typed(answerer: "Answerer", name: str, typed: str, return_scores: bool) -> None:
    try:
        answer = next(answerer.answer(name, {"": typed}))
    except UserError as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        return
    for each in (answer, *answer.alternatives):
        print(format_line(each._replace(alternatives=()), return_scores), flush=True)
    for told in warnings_of(answer):
        print(f"note: {told}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Line editing for `input`, and the lines of earlier sittings; where they cannot be kept, they are not."""
    try:
        import readline
    except ImportError:  # Windows has none, its console edits lines itself
        yield
        return
    path = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_TYPED_KEPT)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def history_file() -> Path:
    """Where typed lines are kept, by the XDG base directory specification."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "t2t_lite" / "decoder_history"


def decode_pipe(answerer: "Answerer", problem: Problem, *, return_scores: bool) -> None:
    """Answers standard input on standard output, a line for a line, in order.

    Lines that have come are answered together; none waits for one that has not.

    Raises:
      UserError: a line is not UTF-8, or names what cannot be read: then those that came with it are not
        answered either.
    """
    number = 0
    summary = WarningSummary()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf8")  # as what is read, whatever the locale
    for lines in _arriving(_STANDARD_INPUT, answerer.decode_hparams.batch_size):
        places = {f"standard input:{number + i}": line for i, line in enumerate(lines, 1)}
        for answer in answerer.answer(problem.name, places):
            number += 1
            print(format_line(answer, return_scores))
            summary.add(number, answer)
        sys.stdout.flush()
    print(f"{number:,} lines answered{summary}", file=sys.stderr)


def _arriving(descriptor: int, most: int) -> Iterator[list[str]]:
    """Lists of the lines that have come, as soon as there is one, of at most so many."""
    waiting: queue.Queue[Any] = queue.Queue(maxsize=4 * most)

    def read() -> None:
        try:
            # Not sys.stdin: at exit Python would close that under the thread that waits for it, and abort.
            with open(descriptor, "rb", closefd=False) as stream:
                for number, line in enumerate(stream, 1):
                    waiting.put(_decode(line, number))
            waiting.put(_END)
        except (OSError, UserError) as e:
            waiting.put(e)

    threading.Thread(target=read, daemon=True).start()
    while True:
        lines, item = [], waiting.get()
        while isinstance(item, str):
            lines.append(item)
            try:
                item = waiting.get_nowait() if len(lines) < most else None
            except queue.Empty:
                item = None
        if lines:
            yield lines
        if item is _END:
            return
        if isinstance(item, Exception):
            raise item


def _decode(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as e:
        raise UserError(f"standard input:{number}: not UTF-8 text ({e.reason} at byte {e.start})") from e
