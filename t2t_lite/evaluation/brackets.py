"""Scores of constituency trees by the rules of evalb with its COLLINS.prm, the Penn Treebank's usual measure.

Brackets are (label, first word, last word); those that answer and reference share are counted once each. Left out are
the tags over single words, the label TOP, function tags (`NP-SBJ` is `NP`), words tagged as punctuation or as a trace,
and what holds no other words. ADVP and PRT are one label.

One rule is stricter: evalb passes over a sentence whose answer has another number of words. Here such an answer is laid
over the reference's words as far as it goes (`trees.delinearise`), and counts. Which words are left out is told by the
reference's tags.
"""

from collections import Counter
from collections.abc import Sequence

from t2t_lite.problems.trees import Tree, delinearise

_DELETED_TAGS = frozenset({"TOP", "-NONE-", ",", ":", "``", "''", "."})
_ROOTS = frozenset({"TOP"})
_SAME = {"PRT": "ADVP"}

Brackets = Counter[tuple[str, int, int]]


def score_trees(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Scores answers in linear form, such as `(S (NP DT NN )NP (VP VBZ )VP . )S`, over all sentences.

    Returns:
      bracket_precision, bracket_recall, bracket_f1 and complete_match (the share of sentences with all brackets and no
      other), each from 0 to 1.
    """
    found = asked = shared = complete = 0
    for answer, reference in zip(answers, references, strict=True):
        ours, theirs = brackets_of(answer, reference)
        found, asked = found + ours.total(), asked + theirs.total()
        shared += (ours & theirs).total()
        complete += ours == theirs
    precision, recall = shared / max(found, 1), shared / max(asked, 1)
    return {
        "bracket_precision": precision,
        "bracket_recall": recall,
        "bracket_f1": 2 * shared / max(found + asked, 1),
        "complete_match": complete / max(len(references), 1),
    }


def brackets_of(answer: str, reference: str) -> tuple[Brackets, Brackets]:
    """The brackets that count, of both trees in linear form."""
    tags = [token for token in reference.split() if token.strip("()") and token[0] not in "()"]
    if not tags:
        return Counter(), Counter()
    words = [str(number) for number in range(len(tags))]
    kept = [tag not in _DELETED_TAGS for tag in tags]
    before = [sum(kept[:i]) for i in range(len(kept) + 1)]
    ours, theirs = (count_brackets(delinearise(text, words), before) for text in (answer, reference))
    return ours, theirs


def count_brackets(tree: Tree, before: Sequence[int]) -> Brackets:
    """The brackets of a tree that count.

    Args:
      tree: over all words.
      before: for each word, and for the end, how many of the words before it count.
    """
    counts: Brackets = Counter()

    def walk(node: Tree, first: int) -> int:
        """Counts a constituent that starts at a word; returns the word after it."""
        end = first
        for child in node.children:
            end = end + 1 if isinstance(child, str) or child.is_leaf else walk(child, end)
        label = node.label.split("-")[0].split("=")[0] or node.label
        if before[first] < before[end] and label not in _ROOTS:
            counts[_SAME.get(label, label), before[first], before[end]] += 1
        return end

    if not tree.is_leaf:
        walk(tree, 0)
    return counts
