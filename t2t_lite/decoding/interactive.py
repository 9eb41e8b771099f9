"""Decodes lines as they arrive: typed at a terminal, or through a pipe."""

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
_STDIN = 0  # its descriptor
_HISTORY_LINES = 1000


def decode_interactive(answerer: "Answerer", problem: Problem, *, return_scores: bool) -> None:
    """Answers each line typed, until the end of input. Prints an error for an input that cannot be read, and goes on.

    A terminal has line editing and history, which is kept between calls.
    """
    terminal = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # "strict" loses a block of lines with one bad byte
    if terminal:
        print(f"{problem.name}: type {describe_input(problem)}; Ctrl-D ends")
    with _history() if terminal else contextlib.nullcontext():
        while True:
            try:
                typed = _repaired(input("> " if terminal else ""))
            except EOFError:
                print(end="\n" if terminal else "")
                return
            except UnicodeError:
                print("error: not UTF-8 text", file=sys.stderr, flush=True)
                continue
            if typed.strip():
                _print_answer(answerer, problem.name, typed, return_scores)


def _repaired(typed: str) -> str:
    """Decodes as UTF-8 what the terminal's encoding, such as ASCII, could not decode. Raises UnicodeError."""
    try:
        typed.encode()
        return typed
    except UnicodeEncodeError:  # undecodable bytes, as surrogates
        return typed.encode(sys.stdin.encoding, "surrogateescape").decode()


def _print_answer(answerer: "Answerer", name: str, typed: str, return_scores: bool) -> None:
    try:
        answer = next(answerer.answer(name, {"": typed}))
    except UserError as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        return
    for each in (answer, *answer.alternatives):
        print(format_line(each._replace(alternatives=()), return_scores), flush=True)
    for warning in warnings_of(answer):
        print(f"note: answer {warning}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Gives `input` line editing, loads the history and saves it on exit; ignores a history file that fails."""
    try:
        import readline
    except ImportError:  # Windows has no readline; its console has line editing
        yield
        return
    path = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LINES)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def history_file() -> Path:
    """The path of the history, by the XDG base directory specification."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "t2t_lite" / "decoder_history"


def decode_pipe(answerer: "Answerer", problem: Problem, *, return_scores: bool) -> None:
    """Answers each line of standard input with a line on standard output, in order. Both are UTF-8.

    Lines that have arrived share a batch; no line waits for later ones.

    Raises:
      UserError: a line is not UTF-8, or names a file that cannot be read. The other lines of its batch are then not
        answered either.
    """
    number = 0
    summary = WarningSummary()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf8", errors="backslashreplace")
    for lines in _arriving_lines(_STDIN, answerer.decode_hparams.batch_size):
        places = {f"standard input:{number + i}": line for i, line in enumerate(lines, 1)}
        for answer in answerer.answer(problem.name, places):
            number += 1
            print(format_line(answer, return_scores))
            summary.add(number, answer)
        sys.stdout.flush()
    print(f"{number:,} lines answered{summary}", file=sys.stderr)


def _arriving_lines(descriptor: int, limit: int) -> Iterator[list[str]]:
    """Yields the lines that have arrived, at least one and at most `limit` at a time."""
    arrived: queue.Queue[Any] = queue.Queue(maxsize=4 * limit)

    def read() -> None:
        try:
            # Not sys.stdin: at exit Python would close it while this thread reads it, and abort.
            with open(descriptor, "rb", closefd=False) as stream:
                for number, line in enumerate(stream, 1):
                    arrived.put(_decode(line, number))
            arrived.put(_END)
        except (OSError, UserError) as e:
            arrived.put(e)

    threading.Thread(target=read, daemon=True).start()
    while True:
        lines, item = [], arrived.get()
        while isinstance(item, str):
            lines.append(item)
            try:
                item = arrived.get_nowait() if len(lines) < limit else None
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
