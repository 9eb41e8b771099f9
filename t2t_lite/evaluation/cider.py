"""CIDEr-D of captions (Vedantam et al., 2015, section 5 and its supplement).

For n from 1 to 4, each caption is a vector of its n-grams' counts times their inverse document frequency: how rare they
are among the references. The score is the mean over n of the cosine of answer and reference, the answer's entries cut
to the reference's, times a Gaussian of the difference in length (sigma 6), times 10. Words are those of the lower-cased
text, without punctuation. An n-gram that every reference has counts nothing: a single caption scores 0.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

_ORDERS = (1, 2, 3, 4)
_SIGMA = 6.0
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

NGrams = Counter[tuple[str, ...]]


def words_of(caption: str) -> list[str]:
    """The words that count."""
    return _WORD.findall(caption.lower())


def cider_d(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """The score of each answer.

    Args:
      answers: a caption for each picture.
      references: the captions of each picture.
    """
    split = [[words_of(caption) for caption in captions] for captions in references]
    pictures_with: NGrams = Counter()
    for captions in split:
        pictures_with.update({gram for words in captions for n in _ORDERS for gram in _ngrams(words, n)})
    return [
        10.0 * _mean([_similarity(words_of(answer), words, pictures_with, len(split)) for words in captions])
        for answer, captions in zip(answers, split, strict=True)
    ]


def _similarity(answer: list[str], reference: list[str], pictures_with: NGrams, pictures: int) -> float:
    """The mean over n of the cosines, times the Gaussian of the lengths."""
    cosines = []
    for n in _ORDERS:
        ours, theirs = (_weights(_ngrams(words, n), pictures_with, pictures) for words in (answer, reference))
        product = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
        size = _norm(ours) * _norm(theirs)
        cosines.append(product / size if size else 0.0)
    return _mean(cosines) * math.exp(-((len(answer) - len(reference)) ** 2) / (2 * _SIGMA**2))


def _ngrams(words: list[str], n: int) -> NGrams:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _weights(counts: NGrams, pictures_with: NGrams, pictures: int) -> dict[tuple[str, ...], float]:
    return {gram: count * math.log(pictures / max(pictures_with[gram], 1)) for gram, count in counts.items()}


def _norm(weights: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights.values()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
