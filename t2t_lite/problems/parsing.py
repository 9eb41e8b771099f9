"""A sentence to its constituency tree, from the user's own trees in Penn Treebank brackets."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems import trees
from t2t_lite.problems.features import Text
from t2t_lite.problems.files import split_file, try_lines
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train.mrg and dev.mrg (test.mrg serves where there is no dev.mrg): Penn Treebank brackets"


class ParsingFromTrees(Problem):
    """Words to linearised trees, of files in Penn Treebank brackets.

    Trees are learnt as `trees.plain` leaves them: without empty nodes and traces, function tags and indices.
    """

    inputs = Text()
    targets = Text(symbols=trees.BRACKETS, max_length=512)
    command = "to_parse_tree"
    metrics = ("tree",)

    def files(self, split: str, raw_dir: Path) -> list[Path]:
        """The files of a split, in order."""
        raise NotImplementedError

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields sentences and trees; a tree that is all traces is passed over."""
        for path in self.files(split, raw_dir):
            for tree in read_trees(path):
                if isinstance(tree, UserError):
                    yield tree
                elif (plain := trees.plain(tree)) is not None:
                    yield {"inputs": " ".join(plain.words()), "targets": trees.linearise(plain)}


@registry.problems.register
class ParsingFiles(ParsingFromTrees):
    """Your own trees in Penn Treebank brackets: train.mrg, dev.mrg; one tree a line, or further lines indented."""

    needs_source = True

    def files(self, split: str, raw_dir: Path) -> list[Path]:
        """The split's one file."""
        return [split_file(split, raw_dir, ".mrg", _LAYOUT)]


def read_trees(path: Path) -> Iterator[trees.Tree | UserError]:
    """Yields the trees of a file; each begins on a line of its own, its further lines are indented or close brackets.

    In place of a broken tree comes an error that names the file, and the line where the tree begins; what may be the
    rest of that tree is passed over.
    """
    start, text, broken = 0, "", False
    for number, line in zip(count(1), try_lines(path, strip=False), strict=False):
        if isinstance(line, UserError):
            yield line
            text, broken = "", True
            continue
        if line.startswith("("):
            if text:
                yield _parsed(path, start, text)
            text, broken = "", False
        if line.strip() and not broken:
            start, text = (start, f"{text} {line}") if text else (number, line)
        if text and text.count("(") <= text.count(")"):
            found = _parsed(path, start, text)
            yield found
            text, broken = "", isinstance(found, UserError)
    if text:
        yield _parsed(path, start, text)


def _parsed(path: Path, number: int, text: str) -> trees.Tree | UserError:
    try:
        return trees.parse(text)
    except UserError as e:
        return UserError(f"{path}:{number}: {e}")
