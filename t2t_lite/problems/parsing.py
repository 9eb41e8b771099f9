"""Constituency parsing, from the user's own trees in Penn Treebank brackets."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.escapes import printable
from t2t_lite.problems import trees
from t2t_lite.problems.features import Text
from t2t_lite.problems.files import split_file, try_lines
from t2t_lite.problems.problem import Problem

_LAYOUT = "expected train.mrg and dev.mrg (test.mrg serves if there is no dev.mrg): Penn Treebank brackets"


class ParsingFromTrees(Problem):
    """Sentences to linearised trees, from files in Penn Treebank brackets.

    Trees are simplified by `trees.plain`: without empty nodes and traces, function tags and indices.
    """

    inputs = Text()
    targets = Text(symbols=trees.BRACKETS, max_length=512)
    command = "to_parse_tree"
    metrics = ("tree",)

    def files(self, split: str, raw_dir: Path) -> list[Path]:
        """Returns the files of a split, in order."""
        raise NotImplementedError

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any] | UserError]:
        """Yields sentences and trees; skips a tree that holds only traces. Prints how many words have no tag."""
        untagged = UntaggedWords()
        for path in self.files(split, raw_dir):
            for tree in read_trees(path, untagged):
                if isinstance(tree, UserError):
                    yield tree
                elif (plain := trees.plain(tree)) is not None:
                    yield {"inputs": " ".join(plain.words()), "targets": trees.linearise(plain)}
        if untagged.words:
            self.print_once(
                f"{self.name}, {split}: {untagged.words:,} words in {untagged.trees:,} trees have no tag, the first at "
                f"{untagged.first}; they get the tag {trees.UNKNOWN_TAG}"
            )


@dataclass
class UntaggedWords:
    """Counts of the words without a part-of-speech tag in files of trees.

    Attributes:
      words: their number.
      trees: the number of trees that hold them.
      first: FILE:LINE of the first such tree.
    """

    words: int = 0
    trees: int = 0
    first: str = ""

    def add(self, words: int, where: str) -> None:
        """Counts the words of a tree."""
        if words:
            self.first = self.first or where
            self.words += words
            self.trees += 1


@registry.problems.register
class ParsingFiles(ParsingFromTrees):
    """Your own trees in Penn Treebank brackets: train.mrg, dev.mrg; one tree a line, or further lines indented."""

    needs_source = True

    def files(self, split: str, raw_dir: Path) -> list[Path]:
        """Returns the one file of the split."""
        return [split_file(split, raw_dir, ".mrg", _LAYOUT)]


def read_trees(path: Path, untagged: UntaggedWords | None = None) -> Iterator[trees.Tree | UserError]:
    """Yields the trees of a file; each begins on a line of its own, its further lines are indented or close brackets.

    Yields an error for a broken tree, which names the file and the line where the tree begins, and skips the lines that
    may be the rest of that tree.

    Args:
      path: the file.
      untagged: counts the words without a tag.
    """
    untagged = untagged or UntaggedWords()
    start, text, broken = 0, "", False
    for number, line in zip(count(1), try_lines(path, strip=False), strict=False):
        if isinstance(line, UserError):
            yield line
            text, broken = "", True
            continue
        if line.startswith("("):
            if text:
                yield _parsed(path, start, text, untagged)
            text, broken = "", False
        if line.strip() and not broken:
            start, text = (start, f"{text} {line}") if text else (number, line)
        if text and text.count("(") <= text.count(")"):
            tree = _parsed(path, start, text, untagged)
            yield tree
            text, broken = "", isinstance(tree, UserError)
    if text:
        yield _parsed(path, start, text, untagged)


def _parsed(path: Path, number: int, text: str, untagged: UntaggedWords) -> trees.Tree | UserError:
    where = f"{printable(path)}:{number}"
    try:
        tree, words = trees.parse_counted(text)
    except UserError as e:
        return UserError(f"{where}: {e}")
    untagged.add(words, where)
    return tree
