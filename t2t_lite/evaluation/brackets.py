"""Bracket scores of constituency trees (PARSEVAL) by the rules of evalb with COLLINS.prm.

A bracket is (label, start, end) over the words; answer and reference are compared as multisets. Ignored are tags over
single words, the label TOP, function tags (`NP-SBJ` is `NP`), words that the reference tags as punctuation or as a
trace, and brackets without other words. ADVP and PRT are one label.

One rule is stricter: evalb skips a sentence whose answer has another number of words. Here the answer's tags are
aligned with the reference's words from the left (`trees.delinearise`), and the sentence counts.
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
      bracket_precision, bracket_recall, bracket_f1 and complete_match (the fraction of sentences whose brackets are all
      right), each from 0 to 1.
    """
    predicted = expected = correct = complete = 0
    for answer, reference in zip(answers, references, strict=True):
        answered, wanted = brackets_of(answer, reference)
        predicted, expected = predicted + answered.total(), expected + wanted.total()
        correct += (answered & wanted).total()
        complete += answered == wanted
    precision, recall = correct / max(predicted, 1), correct / max(expected, 1)
    return {
        "bracket_precision": precision,
        "bracket_recall": recall,
        "bracket_f1": 2 * correct / max(predicted + expected, 1),
        "complete_match": complete / max(len(references), 1),
    }


def brackets_of(answer: str, reference: str) -> tuple[Brackets, Brackets]:
    """Returns the scored brackets of an answer and its reference, both in linear form."""
    tags = [token for token in reference.split() if token.strip("()") and token[0] not in "()"]
    if not tags:
        return Counter(), Counter()
    words = [str(number) for number in range(len(tags))]
    kept = [tag not in _DELETED_TAGS for tag in tags]
    before = [sum(kept[:i]) for i in range(len(kept) + 1)]
    answered, wanted = (count_brackets(delinearise(text, words), before) for text in (answer, reference))
    return answered, wanted


def count_brackets(tree: Tree, before: Sequence[int]) -> Brackets:
    """Returns the scored brackets of a tree.

    Args:
      tree: a tree over all words.
      before: for each word, and for the end, the number of words before it that are not ignored.
    """
    counts: Brackets = Counter()

    def walk(node: Tree, first: int) -> int:
        """Counts a constituent from its first word; returns the index after its last word."""
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
