"""Answers a file of inputs into a file of answers; stopped at any moment, it goes on where it was."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from t2t_lite.data.text_file import read_lines
from t2t_lite.decoding import inputs
from t2t_lite.decoding.answer import Answer, warnings_of
from t2t_lite.problems import Problem

if TYPE_CHECKING:
    from t2t_lite.decoding.decode import Answerer

_SAY_EVERY = 1000  # lines
_LINES_NAMED = 10  # of each fault
_TO_BLANKS = str.maketrans("\r\n", "  ")  # what would end a line within an answer; nothing else ends one


def decode_file(answerer: "Answerer", problem: Problem, *, source: Path, target: Path, return_scores: bool) -> None:
    """Answers a file, one input a line, into a file of as many lines in the same order.

    Inputs of like size are answered together, the largest first; the same input is answered once. Until all are, the
    answers are kept in TARGET.unfinished, from which a later call with the same run and options goes on.

    Raises:
      UserError: an input cannot be read; the source is not UTF-8.
    """
    lines = read_lines(source, "--decode_from_file")
    made_by = {
        "problem": problem.name,
        "output_dir": str(answerer.output_dir.resolve()),
        "step": answerer.step,
        "search": answerer.decode_hparams.changing_answers(),
        "brackets": answerer.brackets,
    }
    with Journal(target.with_name(target.name + ".unfinished"), made_by) as journal:
        places: dict[str, str] = {}  # {input: where it first stands}
        for number, line in enumerate(lines, 1):
            if line not in journal.answers:
                places.setdefault(line, f"{source}:{number}")
        if journal.answers:
            print(f"going on: {len(journal.answers):,} inputs have been answered before", file=sys.stderr)
        total = len(set(lines))
        order = sorted(places, key=lambda line: inputs.size(problem, line), reverse=True)
        for group in _groups(order, answerer.decode_hparams.batch_size):
            journal.add(zip(group, answerer.answer(problem.name, {places[line]: line for line in group}), strict=True))
            _say_progress(len(journal.answers), len(group), total)
        answers = [journal.answers[line] for line in lines]
        _write(target, [format_line(answer, return_scores) for answer in answers])
        journal.remove()
    summary = WarningSummary()
    for number, answer in enumerate(answers, 1):
        summary.add(number, answer)
    print(f"{len(lines):,} lines written to {target}{summary}")


def format_line(answer: Answer, return_scores: bool) -> str:
    """An answer and its alternatives on one line, each followed by its score if wanted, between tabs."""
    all_ = (answer, *answer.alternatives)
    texts = [each.text.translate(_TO_BLANKS) for each in all_]
    if len(all_) > 1 or return_scores:
        texts = [text.replace("\t", " ") for text in texts]
    if return_scores:
        texts = [f"{text}\t{each.score:.4f}" for text, each in zip(texts, all_, strict=True)]
    return "\t".join(texts)


class WarningSummary:
    """Which answers have which warnings, by the number of their line."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}

    def add(self, number: int, answer: Answer) -> None:
        """Takes in the answer to a line."""
        for fault in warnings_of(answer):
            self._lines.setdefault(fault, []).append(number)

    def __str__(self) -> str:
        """To follow a sentence, such as "; 12 empty (lines 3, 8, 9, ...)"; "" where there is no fault."""
        return "".join(f"; {len(lines):,} {fault} ({_some(lines)})" for fault, lines in self._lines.items())


def _some(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES_NAMED])) + (", ..." if len(lines) > _LINES_NAMED else "")
    return f"line{'s' if len(lines) > 1 else ''} {shown}"


class Journal:
    """The answers found so far, in a file that is whole after every batch.

    A line of JSON that says what makes them, then one for each input. A last line that is not whole is dropped. What
    breaks off the work is followed by a word on what is kept.

    Args:
      path: the file; where it exists and was made by the same, its answers are taken over.
      made_by: the problem, the run and the search, JSON-able.
    """

    def __init__(self, path: Path, made_by: dict[str, Any]):
        self._path = path
        self.answers: dict[str, Answer] = {}
        head = (json.dumps(made_by) + "\n").encode()
        kept = path.read_bytes() if path.exists() else b""
        if kept and not kept.startswith(head):
            print(f"{path}: of another run, checkpoint or search: starting over", file=sys.stderr)
            kept = b""
        whole = kept[: kept.rfind(b"\n") + 1] or head
        for line in whole.splitlines()[1:]:
            text, *found = json.loads(line)
            self.answers[text] = _from_lists(found)
        if whole != kept:
            path.write_bytes(whole)
        self._file: BinaryIO = path.open("ab")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.answers:
            self.remove()
            return
        self._file.close()
        if kind:
            kept = f"{len(self.answers):,} inputs answered so far are kept in {self._path}"
            print(f"{kept}; the same command goes on from there", file=sys.stderr)

    def add(self, found: Iterable[tuple[str, Answer]]) -> None:
        """Keeps inputs with their answers."""
        lines = []
        for text, answer in found:
            self.answers[text] = answer
            lines.append(json.dumps([text, *_to_lists(answer)]) + "\n")
        self._file.write("".join(lines).encode())
        self._file.flush()

    def remove(self) -> None:
        """Deletes the file, once the answers are elsewhere."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _to_lists(answer: Answer) -> list[Any]:
    all_ = (answer, *answer.alternatives)
    return [answer.input_cut, *([each.text, each.score, each.finished] for each in all_)]


def _from_lists(stored: list[Any]) -> Answer:
    best, *others = [Answer(*each) for each in stored[1:]]
    return best._replace(alternatives=tuple(others), input_cut=stored[0])


def _groups(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _say_progress(done: int, last: int, total: int) -> None:
    if done // _SAY_EVERY > (done - last) // _SAY_EVERY:
        print(f"{done:,} of {total:,} inputs", file=sys.stderr, flush=True)


def _write(target: Path, lines: list[str]) -> None:
    """Writes all or nothing."""
    part = target.with_name(target.name + ".part")
    with part.open("w", encoding="utf8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
