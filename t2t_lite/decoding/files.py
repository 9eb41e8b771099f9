"""Decodes a file of inputs into a file of answers; a run that was stopped resumes from a journal."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from t2t_lite.data.text_file import read_lines
from t2t_lite.decoding import inputs
from t2t_lite.decoding.answer import Answer, warnings_of
from t2t_lite.output_file import OutputFile
from t2t_lite.problems import Problem

if TYPE_CHECKING:
    from t2t_lite.decoding.decode import Answerer

_PROGRESS_EVERY = 1000  # lines
_LINES_NAMED = 10  # per warning
_BREAKS_TO_SPACES = str.maketrans("\r\n", "  ")


def decode_file(
    answerer: "Answerer", problem: Problem, *, source: Path, target: OutputFile, return_scores: bool
) -> None:
    """Decodes a file with one input per line into a file with the same number of lines in the same order.

    Inputs of similar size share a batch, the largest first; equal inputs are decoded once. If the target is a plain
    file, the answers are kept in TARGET.unfinished until all are there, and a later call with the same run and
    settings resumes from it.

    Raises:
      UserError: an input cannot be read, the source is not UTF-8, or the target cannot be written.
    """
    lines = read_lines(source, "--decode_from_file")
    made_by = {
        "problem": problem.name,
        "output_dir": str(answerer.output_dir.resolve()),
        "step": answerer.step,
        "search": answerer.decode_hparams.changing_answers(),
        "brackets": answerer.brackets,
    }
    journal_path = target.plain and target.plain.with_name(target.plain.name + ".unfinished")
    with Journal(journal_path, made_by) as journal:
        places: dict[str, str] = {}  # {input: where it stands first}
        for number, line in enumerate(lines, 1):
            if line not in journal.answers:
                places.setdefault(line, f"{source}:{number}")
        if journal.answers:
            print(f"resuming: {len(journal.answers):,} inputs have been answered before", file=sys.stderr)
        total = len(set(lines))
        order = sorted(places, key=lambda line: inputs.size(problem, line), reverse=True)
        for group in _groups(order, answerer.decode_hparams.batch_size):
            journal.add(zip(group, answerer.answer(problem.name, {places[line]: line for line in group}), strict=True))
            _print_progress(len(journal.answers), len(group), total)
        answers = [journal.answers[line] for line in lines]
        text = "".join(format_line(answer, return_scores) + "\n" for answer in answers)
        target.write(text.encode("utf8", "backslashreplace"))
        journal.remove()
    summary = WarningSummary()
    for number, answer in enumerate(answers, 1):
        summary.add(number, answer)
    stream = sys.stderr if target.is_stdout else sys.stdout
    print(f"{len(lines):,} lines written to {target.path}{summary}", file=stream)


def format_line(answer: Answer, return_scores: bool) -> str:
    """An answer and its alternatives on one line, separated by tabs, each followed by its score if wanted."""
    answers = (answer, *answer.alternatives)
    texts = [each.text.translate(_BREAKS_TO_SPACES) for each in answers]
    if len(answers) > 1 or return_scores:
        texts = [text.replace("\t", " ") for text in texts]
    if return_scores:
        texts = [f"{text}\t{each.score:.4f}" for text, each in zip(texts, answers, strict=True)]
    return "\t".join(texts)


class WarningSummary:
    """Collects the warnings about answers and the numbers of their lines."""

    def __init__(self) -> None:
        self._lines: dict[str, list[int]] = {}  # {warning: line numbers}

    def add(self, number: int, answer: Answer) -> None:
        """Adds the answer to a line."""
        for warning in warnings_of(answer):
            self._lines.setdefault(warning, []).append(number)

    def __str__(self) -> str:
        """Text to append to a sentence, such as "; 12 empty (lines 3, 8, 9, ...)"; "" if there are no warnings."""
        return "".join(f"; {len(lines):,} {warning} ({_first(lines)})" for warning, lines in self._lines.items())


def _first(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES_NAMED])) + (", ..." if len(lines) > _LINES_NAMED else "")
    return f"line{'s' if len(lines) > 1 else ''} {shown}"


class Journal:
    """The answers so far, in a file to which each batch is appended.

    The first line is JSON that says which run and search made the answers; then comes a line for each input. An
    incomplete last line is dropped. If the work fails, a message names the file.

    Args:
      path: the file; if it exists and was made by the same run and search, its answers are loaded. None: no file.
      made_by: the problem, the run and the search, as JSON values.
    """

    def __init__(self, path: Path | None, made_by: dict[str, Any]):
        self._path = path
        self.answers: dict[str, Answer] = {}
        self._file: BinaryIO | None = None
        if path is None:
            return
        head = (json.dumps(made_by) + "\n").encode()
        stored = path.read_bytes() if path.exists() else b""
        if stored and not stored.startswith(head):
            print(f"{path}: of another run, checkpoint or search: starting over", file=sys.stderr)
            stored = b""
        complete = stored[: stored.rfind(b"\n") + 1] or head
        for line in complete.splitlines()[1:]:
            text, *lists = json.loads(line)
            self.answers[text] = _from_lists(lists)
        if complete != stored:
            path.write_bytes(complete)
        self._file = path.open("ab")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.answers:
            self.remove()
        elif self._file is not None:
            self._file.close()
            if kind:
                kept = f"{len(self.answers):,} inputs answered so far are kept in {self._path}"
                print(f"{kept}; the same command resumes from there", file=sys.stderr)

    def add(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Appends inputs with their answers."""
        lines = []
        for text, answer in answers:
            self.answers[text] = answer
            lines.append(json.dumps([text, *_to_lists(answer)]) + "\n")
        if self._file is not None:
            self._file.write("".join(lines).encode())
            self._file.flush()

    def remove(self) -> None:
        """Deletes the file, once the answers are written elsewhere."""
        if self._path is not None and self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


def _to_lists(answer: Answer) -> list[Any]:
    answers = (answer, *answer.alternatives)
    return [answer.input_cut, *([each.text, each.score, each.finished] for each in answers)]


def _from_lists(stored: list[Any]) -> Answer:
    best, *others = [Answer(*each) for each in stored[1:]]
    return best._replace(alternatives=tuple(others), input_cut=stored[0])


def _groups(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _print_progress(done: int, added: int, total: int) -> None:
    if done // _PROGRESS_EVERY > (done - added) // _PROGRESS_EVERY:
        print(f"{done:,} of {total:,} inputs", file=sys.stderr, flush=True)
