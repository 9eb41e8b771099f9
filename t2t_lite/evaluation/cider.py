"""CIDEr-D of captions (Vedantam et al., 2015, section 5 and its supplement).

For n from 1 to 4, a caption is the vector of its n-grams' counts times their inverse document frequency among the
references. The score is the mean over n of the cosine similarity of answer and reference, with the answer's entries
clipped to the reference's, times a Gaussian penalty of the difference in length (sigma 6), times 10. Words are those of
the lower-cased text, without punctuation. An n-gram in the references of every picture has weight 0, so that a single
picture scores 0.
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
    """Returns the lower-cased words of a caption, without punctuation."""
    return _WORD.findall(caption.lower())


def cider_d(answers: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Returns the CIDEr-D score of each answer.

    Args:
      answers: one caption per picture.
      references: the reference captions of each picture.
    """
    split = [[words_of(caption) for caption in captions] for captions in references]
    document_frequency: NGrams = Counter()
    for captions in split:
        document_frequency.update({gram for words in captions for n in _ORDERS for gram in _ngrams(words, n)})
    return [
        10.0 * _mean([_similarity(words_of(answer), words, document_frequency, len(split)) for words in captions])
        for answer, captions in zip(answers, split, strict=True)
    ]


def _similarity(answer: list[str], reference: list[str], document_frequency: NGrams, pictures: int) -> float:
    """The mean over n of the clipped cosines, times the length penalty."""
    cosines = []
    for n in _ORDERS:
        answer_weights, reference_weights = (
            _weights(_ngrams(words, n), document_frequency, pictures) for words in (answer, reference)
        )
        product = sum(
            min(weight, reference_weights[gram]) * reference_weights[gram]
            for gram, weight in answer_weights.items()
            if gram in reference_weights
        )
        size = _norm(answer_weights) * _norm(reference_weights)
        cosines.append(product / size if size else 0.0)
    return _mean(cosines) * math.exp(-((len(answer) - len(reference)) ** 2) / (2 * _SIGMA**2))


def _ngrams(words: list[str], n: int) -> NGrams:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _weights(counts: NGrams, document_frequency: NGrams, pictures: int) -> dict[tuple[str, ...], float]:
    return {gram: count * math.log(pictures / max(document_frequency[gram], 1)) for gram, count in counts.items()}


def _norm(weights: dict[tuple[str, ...], float]) -> float:
    return math.sqrt(sum(weight * weight for weight in weights.values()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
