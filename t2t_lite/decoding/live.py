"""Answers while they are waited for: what is typed, and what comes through a pipe."""

import queue
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from t2t_lite.decoding.decode import Answerer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.decoding.files import faults, format_line, remarks
from t2t_lite.decoding.inputs import what
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem

_END: Any = object()


def decode_interactive(
    problem: Problem,
    *,
    return_scores: bool,
    data_dir: Path,
    output_dir: Path,
    decode_hparams: DecodeHParams,
    checkpoint: str = "latest",
) -> None:
    """Answers each line typed, until the end of input. An input that cannot be read is said and passed over."""
    answerer = Answerer([problem.name], data_dir, output_dir, decode_hparams, checkpoint)
    prompt = "> " if sys.stdin.isatty() else ""
    if prompt:
        import readline  # noqa: F401, gives input() line editing and history

        print(f"{problem.name}: type {what(problem)}; Ctrl-D ends")
    while True:
        try:
            typed = input(prompt)
        except EOFError:
            return
        if typed.strip():
            try:
                answer = next(answerer.answer(problem.name, {"": typed}))
            except UserError as e:
                print(f"error: {e}", file=sys.stderr, flush=True)
                continue
            for each in (answer, *answer.alternatives):
                print(format_line(each._replace(alternatives=()), return_scores), flush=True)
            for told in faults(answer):
                print(f"note: {told}", file=sys.stderr, flush=True)


def decode_pipe(
    problem: Problem,
    *,
    return_scores: bool,
    data_dir: Path,
    output_dir: Path,
    decode_hparams: DecodeHParams,
    checkpoint: str = "latest",
) -> None:
    """Answers standard input on standard output, a line for a line, in order.

    Lines that have come are answered together; none waits for one that has not.

    Raises:
      UserError: as `Answerer`; a line is not UTF-8, or names what cannot be read: then those that came with it are not
        answered either.
    """
    answerer = Answerer([problem.name], data_dir, output_dir, decode_hparams, checkpoint)
    number = 0
    counts: Counter[str] = Counter()
    for lines in _arriving(sys.stdin.buffer, decode_hparams.batch_size):
        places = {f"standard input:{number + i}": line for i, line in enumerate(lines, 1)}
        for answer in answerer.answer(problem.name, places):
            print(format_line(answer, return_scores))
            counts.update(faults(answer))
        sys.stdout.flush()
        number += len(lines)
    print(f"{number:,} lines answered{remarks(counts)}", file=sys.stderr)


def _arriving(stream: BinaryIO, most: int) -> Iterator[list[str]]:
    """Lists of the lines that have come, as soon as there is one, of at most so many."""
    waiting: queue.Queue[Any] = queue.Queue(maxsize=4 * most)

    def read() -> None:
        try:
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
