"""Constituency trees: Penn Treebank brackets, and the linear form in which a network reads or writes them.

The linear form is that of "Grammar as a Foreign Language" (Vinyals et al., 2015): the words are left out, tags are
leaves, and closing brackets carry their label: `(S (NP DT NN )NP (VP VBZ )VP . )S`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t2t_lite.errors import UserError

# What constituents are called in the Penn Treebank (Marcus et al., 1993), function tags aside.
LABELS = (
    *("ADJP", "ADVP", "CONJP", "FRAG", "INTJ", "LST", "NAC", "NP", "NX", "PP", "PRN", "PRT", "QP", "RRC", "S", "SBAR"),
    *("SBARQ", "SINV", "SQ", "UCP", "VP", "WHADJP", "WHADVP", "WHNP", "WHPP", "X"),
)
# The brackets of the linear form, which a vocabulary does well to keep whole.
BRACKETS = tuple(bracket + label for label in LABELS for bracket in ("(", ")"))

_TOKEN = re.compile(r"[()]|[^\s()]+")
_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*|[^\w\s]|_")
_UNKNOWN_TAG = "XX"
_DEEPEST = 100  # brackets within each other, which recursion must bear; the Penn Treebank has some 40 at most
_EMPTY = "-NONE-"  # the tag of traces and other empty nodes
_ROOTS = ("ROOT", "TOP", "S1", "VROOT")  # labels of a bracket around the whole that says nothing
# How treebanks write words that would look like brackets.
_WRITTEN = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
_READ = {written: word for word, written in _WRITTEN.items()}


@dataclass(frozen=True)
class Tree:
    """A constituent: a label over constituents, or a part-of-speech tag over one word.

    Attributes:
      label: such as "NP", or the tag, such as "NN".
      children: trees, or one word.
    """

    label: str
    children: tuple[Tree | str, ...]

    @property
    def is_leaf(self) -> bool:
        """Whether this is a tag over its word."""
        return len(self.children) == 1 and isinstance(self.children[0], str)

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Yields (tag, word) from left to right."""
        for child in self.children:
            if isinstance(child, Tree):
                yield from child.leaves()
            else:
                yield self.label, child

    def words(self) -> list[str]:
        """The sentence, word by word."""
        return [word for _, word in self.leaves()]

    def depth(self) -> int:
        """Constituents on the longest way down; a tag counts as one."""
        return 1 + max((child.depth() for child in self.children if isinstance(child, Tree)), default=0)

    def __str__(self) -> str:
        """Penn Treebank brackets on one line: `(S (NP (DT the) (NN star)) ...)`; a word `(` is written -LRB-."""
        children = (child if isinstance(child, Tree) else _WRITTEN.get(child, child) for child in self.children)
        return f"({self.label} {' '.join(map(str, children))})"


def split_words(sentence: str) -> list[str]:
    """Splits an English sentence into the words and punctuation marks that are a tree's leaves."""
    return _WORD.findall(sentence)


def parse(brackets: str) -> Tree:
    """Reads one tree in Penn Treebank brackets; an unlabelled outer pair, as in the Treebank's own files, is dropped.

    Raises:
      UserError: what is wrong, and at which character.
    """
    # Each open constituent: its label (None until read) and its children so far.
    open_: list[tuple[list[str], list[Tree | str]]] = []
    root: Tree | None = None
    for match in _TOKEN.finditer(brackets):
        token, where = match.group(), match.start() + 1
        if root is not None:
            raise UserError(f"character {where}: '{token}' after the end of the tree; write one tree a line")
        if token == "(":
            if len(open_) == _DEEPEST:
                raise UserError(f"character {where}: more than {_DEEPEST} brackets are open")
            open_.append(([], []))
        elif not open_:
            raise UserError(f"character {where}: '{token}' outside of brackets; a tree starts with '('")
        elif token == ")":
            done = _close(*open_.pop(), outermost=not open_, where=where)
            if open_:
                open_[-1][1].append(done)
            else:
                root = done
        else:
            label, children = open_[-1]
            (children if label or children else label).append(token)
    if root is None:
        raise UserError(f"character {len(brackets) + 1}: {len(open_)} bracket(s) not closed" if open_ else "no tree")
    return root


def _close(label: list[str], children: list[Tree | str], outermost: bool, where: int) -> Tree:
    words = [child for child in children if isinstance(child, str)]
    if not label and outermost and len(children) == 1 and isinstance(children[0], Tree):
        return children[0]
    if not label:
        raise UserError(f"character {where}: a constituent without a label")
    if not children:
        raise UserError(f"character {where}: '({label[0]})' is empty")
    if words and len(children) > 1:
        raise UserError(f"character {where}: '{words[0]}' under '{label[0]}' needs a tag and brackets of its own")
    return Tree(label[0], tuple(children))


def plain(tree: Tree) -> Tree | None:
    """A treebank's tree as it is learnt, by the usual rules; None where nothing of it is said.

    - Empty nodes (-NONE-: traces, dropped words) go, and with them every constituent that holds nothing else.
    - Function tags and indices go: NP-SBJ-1 is NP, PP-LOC=2 is PP; ADVP|PRT is ADVP.
    - A bracket around the whole that is called ROOT, TOP, S1 or VROOT goes.
    - Words are as in a text: -LRB- is (, and \\/ is /.
    """
    while tree.label in _ROOTS and len(tree.children) == 1 and isinstance(tree.children[0], Tree):
        tree = tree.children[0]
    return _said(tree)


def _said(tree: Tree) -> Tree | None:
    if tree.label == _EMPTY:
        return None
    label = re.sub(r"(?<=.)[-=|].*", "", tree.label) if not tree.label.startswith("-") else tree.label
    children: list[Tree | str] = []
    for child in tree.children:
        kept = _said(child) if isinstance(child, Tree) else _read_word(child)
        if kept is not None:
            children.append(kept)
    return Tree(label, tuple(children)) if children else None


def _read_word(word: str) -> str:
    return _READ.get(word, word.replace("\\/", "/").replace("\\*", "*"))


def linearise(tree: Tree) -> str:
    """Returns the tree without its words, tokens separated by blanks: `(S (NP DT NN )NP (VP VBZ )VP . )S`."""
    if tree.is_leaf:
        return tree.label
    inside = " ".join(linearise(child) for child in tree.children if isinstance(child, Tree))
    return f"({tree.label} {inside} ){tree.label}"


def delinearise(text: str, words: Sequence[str]) -> Tree:
    """Puts words back into a linear form, and always gives a tree over exactly these words.

    What a network writes may be no tree. Then: a closing bracket closes the nearest constituent of its label, and
    all inside it; one that closes nothing is skipped, and so is one that opens inside a hundred others; at the end
    everything is closed; empty constituents vanish;
    tags beyond the words are dropped, and words beyond the tags are hung under the root with the tag XX.

    Raises:
      ValueError: there are no words.
    """
    if not words:
        raise ValueError("a tree needs at least one word")
    open_: list[tuple[str, list[Tree | str]]] = [("", [])]
    position = 0
    for token in text.split():
        label = re.sub("[()]", "", token)
        if not label:
            continue
        if token.startswith("("):
            if len(open_) < _DEEPEST:
                open_.append((label, []))
        elif token.startswith(")"):
            if any(label == each for each, _ in open_):
                while _close_last(open_) != label:
                    pass
        elif position < len(words):
            open_[-1][1].append(Tree(label, (words[position],)))
            position += 1
    while len(open_) > 1:
        _close_last(open_)
    top = open_[0][1]
    rest: list[Tree | str] = [Tree(_UNKNOWN_TAG, (word,)) for word in words[position:]]
    if len(top) == 1 and isinstance(top[0], Tree) and not top[0].is_leaf:
        return Tree(top[0].label, (*top[0].children, *rest))
    return Tree("S", (*top, *rest))


def bracketed(text: str, sentence: str) -> str:
    """A linear form in Penn Treebank brackets over a sentence that has a word.

    Its words are what stands between blanks, as in a treebank, where those are as many as the tags; else those that
    `split_words` finds.
    """
    tags = [token for token in text.split() if not token.startswith(("(", ")"))]
    words = sentence.split()
    return str(delinearise(text, words if len(words) == len(tags) else split_words(sentence)))


def _close_last(open_: list[tuple[str, list[Tree | str]]]) -> str:
    label, children = open_.pop()
    if children:
        open_[-1][1].append(Tree(label, tuple(children)))
    return label
