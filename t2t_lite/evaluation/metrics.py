"""Metrics of decoded texts. A problem names its metrics; each is registered and returns one score or more.

@registry.metrics.register
def exact(answers, references):
    '''The fraction of answers that equal their reference.'''
    return {"exact": sum(a == r for a, r in zip(answers, references)) / len(answers)}
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t2t_lite import registry
from t2t_lite.errors import UnknownNameError, UserError
from t2t_lite.evaluation import brackets, cider
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Image, Text

Scores = dict[str, float | str]
References = Sequence[str] | Sequence[Sequence[str]]  # of each answer: a text, or several


@registry.metrics.register
def bleu(answers: Sequence[str], references: References) -> Scores:
    """Corpus BLEU, 0 to 100, of sacrebleu with its default tokenizer, and the signature of the settings."""
    import sacrebleu

    metric = sacrebleu.metrics.BLEU()
    score = metric.corpus_score(list(answers), _streams(references)).score
    return {"bleu": float(score), "bleu_signature": str(metric.get_signature())}


@registry.metrics.register
def chrf(answers: Sequence[str], references: References) -> Scores:
    """Corpus chrF2, 0 to 100, of sacrebleu: F-score of character n-grams, and the signature of the settings."""
    import sacrebleu

    metric = sacrebleu.metrics.CHRF()
    score = metric.corpus_score(list(answers), _streams(references)).score
    return {"chrf": float(score), "chrf_signature": str(metric.get_signature())}


def _lists(references: References) -> list[list[str]]:
    """The references of each answer as a list."""
    return [[texts] if isinstance(texts, str) else list(texts) for texts in references]


def _streams(references: References) -> list[Any]:
    """The references as sacrebleu takes them: all first ones, all second ones, ...; None where an answer has fewer."""
    return [list(stream) for stream in itertools.zip_longest(*_lists(references))]


@registry.metrics.register
def wer(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Word error rate: substitutions, deletions and insertions per word of the references. 0 is perfect.

    White space separates words; case and punctuation count. Insertions may bring the rate above 1.
    """
    import jiwer

    return {"wer": _error_rate(jiwer.wer, answers, references)}


@registry.metrics.register
def cer(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Character error rate: `wer` of characters. A run of white space counts as one space, or none at the ends."""
    import jiwer

    return {"cer": _error_rate(jiwer.cer, answers, references)}


def _error_rate(rate: Callable[..., float], answers: Sequence[str], references: Sequence[str]) -> float:
    answers, references = ([" ".join(text.split()) for text in texts] for texts in (answers, references))
    if not any(references):
        return 1.0 if any(answers) else 0.0
    return float(rate(references, answers))


@registry.metrics.register
def tree(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Trees in linear form: the fraction, 0 to 1, of exact matches, tags included, and the scores of brackets.py."""
    correct = sum(answer.split() == reference.split() for answer, reference in zip(answers, references, strict=True))
    return {"accuracy_trees": correct / max(len(references), 1), **brackets.score_trees(answers, references)}


@registry.metrics.register
def cider_d(answers: Sequence[str], references: References) -> Scores:
    """Mean CIDEr-D, 0 to 10, of captions (cider.py)."""
    scores = cider.cider_d(answers, _lists(references))
    return {"cider_d": sum(scores) / max(len(scores), 1)}


_SEVERAL_REFERENCES = ("bleu", "chrf", "cider_d")  # metrics that score an answer against several references


def check(problem: Problem) -> None:
    """Checks the metrics that a problem names.

    Raises:
      UserError: a metric is unknown, the targets are not text, or the metric cannot score several references.
    """
    for name in problem.metrics:
        try:
            registry.metrics.check(name)
        except UnknownNameError as e:
            raise UserError(f"problem '{problem.name}': {e}") from e
        if problem.several_references and name not in _SEVERAL_REFERENCES:
            raise UserError(
                f"problem '{problem.name}': metric '{name}' scores an answer against one reference; with "
                f"several_references the metrics are {', '.join(_SEVERAL_REFERENCES)}"
            )
    if problem.metrics and not isinstance(problem.targets, Text):
        raise UserError(f"problem '{problem.name}': metrics need text targets; remove `metrics` or use Text targets")


def has_several_references(problem: Problem) -> bool:
    """Returns whether examples of the problem with the same inputs are one input with several references."""
    if problem.several_references is None:
        return isinstance(problem.inputs, Image) and set(problem.metrics) <= set(_SEVERAL_REFERENCES)
    return problem.several_references


def score(names: Sequence[str], answers: Sequence[str], references: References) -> Scores:
    """Returns the scores of the named metrics, for answers and references in the same order.

    Raises:
      ValueError: the numbers of answers and references differ.
      UserError: a metric of the user's own fails.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers, but {len(references)} references")
    scores: Scores = {}
    for name in names:
        metric = registry.metrics.get(name)
        try:
            result = metric(answers, references)
        except UserError:
            raise
        except Exception as e:
            if metric.__module__ == __name__:
                raise
            raise UserError(f"metric '{name}' failed: {type(e).__name__}: {e}") from e
        scores |= _checked(name, result)
    return scores


def _checked(name: str, result: Any) -> Scores:
    """Returns the scores of a metric, of which the user's own may return one number alone.

    Raises:
      UserError: they are no scores.
    """
    scores = result if isinstance(result, Mapping) else {name: result}
    for key, value in scores.items():
        if isinstance(key, str) and (isinstance(value, str) or _is_finite(value)):
            continue
        raise UserError(f"metric '{name}': returned {key!r}: {value!r}; expected a finite number, or a dict of such")
    return {key: value if isinstance(value, str) else float(value) for key, value in scores.items()}


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, ValueError):
        return False
