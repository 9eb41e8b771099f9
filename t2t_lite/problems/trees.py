"""Constituency trees: Penn Treebank brackets, and the linear form that a network learns.

The linear form is that of "Grammar as a Foreign Language" (Vinyals et al., 2015): the words are left out, tags are
leaves, and closing brackets carry their label: `(S (NP DT NN )NP (VP VBZ )VP . )S`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t2t_lite.errors import UserError

# The labels of constituents in the Penn Treebank (Marcus et al., 1993), without function tags.
LABELS = (
    *("ADJP", "ADVP", "CONJP", "FRAG", "INTJ", "LST", "NAC", "NP", "NX", "PP", "PRN", "PRT", "QP", "RRC", "S", "SBAR"),
    *("SBARQ", "SINV", "SQ", "UCP", "VP", "WHADJP", "WHADVP", "WHNP", "WHPP", "X"),
)
# The brackets of the linear form; a vocabulary should keep each as one piece.
BRACKETS = tuple(bracket + label for label in LABELS for bracket in ("(", ")"))
UNKNOWN_TAG = "XX"  # the tag of words that have none

# Only ASCII white space separates: a word may hold a no-break space or an ideographic space.
_TOKEN = re.compile(r"[()]|[^ \t\n\r\f\v()]+")
_NOT_SPACE = re.compile(r"[^ \t\n\r\f\v]+")
_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*|[^\w\s]|_")
_MAX_DEPTH = 100  # nested brackets; limits recursion. The Penn Treebank nests some 40 at most
_EMPTY = "-NONE-"  # the tag of traces and other empty nodes
_ROOT = "ROOT"  # the label of an unlabelled outer bracket that holds several constituents
_ROOTS = (_ROOT, "TOP", "S1", "VROOT")  # labels of a bracket around the whole tree, which carries no information
# How treebanks write the brackets in words.
_ESCAPES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
_BRACKET = re.compile(r"[()\[\]{}]")
_ESCAPE = re.compile("|".join(_ESCAPES.values()))
_UNESCAPED = {escape: bracket for bracket, escape in _ESCAPES.items()}


@dataclass(frozen=True)
class Tree:
    """A constituent: a label over constituents, or a part-of-speech tag over one word.

    Attributes:
      label: such as "NP", or the tag, such as "NN".
      children: trees, or one word as it stands in a text.
    """

    label: str
    children: tuple[Tree | str, ...]

    @property
    def is_leaf(self) -> bool:
        """Whether this is a part-of-speech tag over its word."""
        return len(self.children) == 1 and isinstance(self.children[0], str)

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Yields (tag, word) from left to right."""
        for child in self.children:
            if isinstance(child, Tree):
                yield from child.leaves()
            else:
                yield self.label, child

    def words(self) -> list[str]:
        """Returns the words of the sentence."""
        return [word for _, word in self.leaves()]

    def depth(self) -> int:
        """Returns the number of nested brackets, tags included."""
        return 1 + max((child.depth() for child in self.children if isinstance(child, Tree)), default=0)

    def __str__(self) -> str:
        """Penn Treebank brackets on one line: `(S (NP (DT the) (NN star)) ...)`; brackets in words become -LRB- etc."""
        children = (child if isinstance(child, Tree) else _escaped(child) for child in self.children)
        return f"({self.label} {' '.join(map(str, children))})"


def _escaped(word: str) -> str:
    return _BRACKET.sub(lambda match: _ESCAPES[match.group()], word)


def _unescaped(word: str) -> str:
    return _ESCAPE.sub(lambda match: _UNESCAPED[match.group()], word)


def split_words(sentence: str) -> list[str]:
    """Splits an English sentence into the words and punctuation marks that are a tree's leaves."""
    return _WORD.findall(sentence)


def parse(brackets: str) -> Tree:
    """Reads one tree in Penn Treebank brackets; the inverse of `str(tree)`.

    - An unlabelled bracket is dropped, as around the trees of the Treebank's own files, and what it holds goes to the
      bracket around it. An unlabelled outer bracket around several constituents gets the label ROOT.
    - A word without a tag gets the tag XX.
    - -LRB- and the like in words become the brackets that they stand for.

    Raises:
      UserError: what is wrong, and at which character.
    """
    return parse_counted(brackets)[0]


def parse_counted(brackets: str) -> tuple[Tree, int]:
    """Like `parse`; returns also the number of words that have no tag."""
    # Each open constituent: its label (empty until read) and its children so far.
    open_: list[tuple[list[str], list[Tree | str]]] = []
    root: Tree | None = None
    for match in _TOKEN.finditer(brackets):
        token, where = match.group(), match.start() + 1
        if root is not None:
            raise UserError(f"character {where}: '{token}' after the end of the tree; write one tree a line")
        if token == "(":
            if len(open_) == _MAX_DEPTH:
                raise UserError(f"character {where}: more than {_MAX_DEPTH} brackets are open")
            open_.append(([], []))
        elif not open_:
            raise UserError(f"character {where}: '{token}' outside of brackets; a tree starts with '('")
        elif token == ")":
            label, children = open_.pop()
            if not children:
                problem = f"'({label[0]})' is empty" if label else "a constituent without a label"
                raise UserError(f"character {where}: {problem}")
            if label:
                children = [Tree(label[0], tuple(children))]
            if open_:
                open_[-1][1].extend(children)
            elif len(children) == 1 and isinstance(children[0], Tree):
                root = children[0]
            else:
                root = Tree(_ROOT, tuple(children))
        else:
            label, children = open_[-1]
            if label or children:
                children.append(_unescaped(token))
            else:
                label.append(token)
    if root is None:
        raise UserError(f"character {len(brackets) + 1}: {len(open_)} bracket(s) not closed" if open_ else "no tree")
    if not _has_untagged(root):
        return root, 0
    root = _tagged(root)
    if root.depth() > _MAX_DEPTH:
        raise UserError(f"more than {_MAX_DEPTH} brackets within each other, with those of words without a tag")
    return root, sum(tag == UNKNOWN_TAG for tag, _ in root.leaves())


def _has_untagged(tree: Tree) -> bool:
    """Whether a constituent has a word beside other children, which therefore has no tag of its own."""
    if len(tree.children) > 1 and any(isinstance(child, str) for child in tree.children):
        return True
    return any(_has_untagged(child) for child in tree.children if isinstance(child, Tree))


def _tagged(tree: Tree) -> Tree:
    """Gives the tag XX to the words without one. In such a tree, NP over a single word is a constituent, not a tag."""
    if tree.is_leaf and _without_function(tree.label) not in LABELS:
        return tree
    children = (_tagged(child) if isinstance(child, Tree) else Tree(UNKNOWN_TAG, (child,)) for child in tree.children)
    return Tree(tree.label, tuple(children))


def plain(tree: Tree) -> Tree | None:
    """Simplifies a treebank's tree for training, by the usual rules; None if no words remain.

    - Empty nodes (-NONE-: traces, dropped words) are removed, and constituents that hold nothing else.
    - Function tags and indices are removed: NP-SBJ-1 is NP, PP-LOC=2 is PP; ADVP|PRT is ADVP.
    - A bracket around the whole tree that is called ROOT, TOP, S1 or VROOT is removed if it holds one constituent.
    - Words are written as in a text: \\/ is /, and \\* is *.
    """
    while tree.label in _ROOTS and len(tree.children) == 1 and isinstance(tree.children[0], Tree):
        tree = tree.children[0]
    return _without_empty(tree)


def _without_empty(tree: Tree) -> Tree | None:
    if tree.label == _EMPTY:
        return None
    children: list[Tree | str] = []
    for child in tree.children:
        kept = _without_empty(child) if isinstance(child, Tree) else child.replace("\\/", "/").replace("\\*", "*")
        if kept is not None:
            children.append(kept)
    return Tree(_without_function(tree.label), tuple(children)) if children else None


def _without_function(label: str) -> str:
    return label if label.startswith("-") else re.sub(r"(?<=.)[-=|].*", "", label)


def linearise(tree: Tree) -> str:
    """Returns the tree without its words, tokens separated by spaces: `(S (NP DT NN )NP (VP VBZ )VP . )S`."""
    if tree.is_leaf:
        return tree.label
    inside = " ".join(linearise(child) for child in tree.children if isinstance(child, Tree))
    return f"({tree.label} {inside} ){tree.label}"


def delinearise(text: str, words: Sequence[str]) -> Tree:
    """Puts words back into a linear form; always returns a tree over exactly these words.

    Output of a network that is no tree is repaired: a closing bracket closes the nearest constituent of its label
    and all inside it; one that matches no open constituent is skipped, and so is one that opens inside a hundred
    others; at the end all constituents are closed; empty ones are dropped; tags beyond the words are dropped, and words
    beyond the tags are attached to the root with the tag XX.

    Raises:
      ValueError: there are no words.
    """
    if not words:
        raise ValueError("a tree needs at least one word")
    open_: list[tuple[str, list[Tree | str]]] = [("", [])]
    position = 0
    for token in _NOT_SPACE.findall(text):
        label = re.sub("[()]", "", token)
        if not label:
            continue
        if token.startswith("("):
            if len(open_) < _MAX_DEPTH:
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
    rest: list[Tree | str] = [Tree(UNKNOWN_TAG, (word,)) for word in words[position:]]
    if len(top) == 1 and isinstance(top[0], Tree) and not top[0].is_leaf:
        return Tree(top[0].label, (*top[0].children, *rest))
    return Tree("S", (*top, *rest))


def bracketed(text: str, sentence: str) -> str:
    """Returns a linear form as Penn Treebank brackets over a sentence that has at least one word.

    If the sentence has as many words between spaces as the linear form has tags, as in a treebank, these are the words;
    otherwise `split_words` splits the sentence.
    """
    tags = [token for token in _NOT_SPACE.findall(text) if not token.startswith(("(", ")"))]
    words = _NOT_SPACE.findall(sentence)
    return str(delinearise(text, words if len(words) == len(tags) else split_words(sentence) or words))


def _close_last(open_: list[tuple[str, list[Tree | str]]]) -> str:
    label, children = open_.pop()
    if children:
        open_[-1][1].append(Tree(label, tuple(children)))
    return label
