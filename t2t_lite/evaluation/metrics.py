"""Metrics of decoded texts. A problem names its metrics; each returns one score or more."""

from collections.abc import Callable, Sequence

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.evaluation import brackets, cider
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text

Scores = dict[str, float | str]


def bleu(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Corpus BLEU, 0 to 100, of sacrebleu with its default tokenizer, and the signature of the settings."""
    import sacrebleu

    metric = sacrebleu.metrics.BLEU()
    score = metric.corpus_score(list(answers), [list(references)]).score
    return {"bleu": float(score), "bleu_signature": str(metric.get_signature())}


def chrf(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Corpus chrF2, 0 to 100, of sacrebleu: F-score of character n-grams, and the signature of the settings."""
    import sacrebleu

    metric = sacrebleu.metrics.CHRF()
    score = metric.corpus_score(list(answers), [list(references)]).score
    return {"chrf": float(score), "chrf_signature": str(metric.get_signature())}


def wer(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Word error rate: substitutions, deletions and insertions per word of the references. 0 is perfect.

    White space separates words; case and punctuation count. Insertions may bring the rate above 1.
    """
    import jiwer

    return {"wer": _error_rate(jiwer.wer, answers, references)}


def cer(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Character error rate: `wer` of characters. A run of white space counts as one space, or none at the ends."""
    import jiwer

    return {"cer": _error_rate(jiwer.cer, answers, references)}


def _error_rate(rate: Callable[..., float], answers: Sequence[str], references: Sequence[str]) -> float:
    answers, references = ([" ".join(text.split()) for text in texts] for texts in (answers, references))
    if not any(references):
        return 1.0 if any(answers) else 0.0
    return float(rate(references, answers))


def tree(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Trees in linear form: the fraction, 0 to 1, of exact matches, tags included, and the scores of brackets.py."""
    correct = sum(answer.split() == reference.split() for answer, reference in zip(answers, references, strict=True))
    return {"accuracy_trees": correct / max(len(references), 1), **brackets.score_trees(answers, references)}


def cider_d(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Mean CIDEr-D, 0 to 10, of captions with one reference each (cider.py)."""
    scores = cider.cider_d(answers, [[reference] for reference in references])
    return {"cider_d": sum(scores) / max(len(scores), 1)}


METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], Scores]] = {
    "bleu": bleu,
    "chrf": chrf,
    "wer": wer,
    "cer": cer,
    "tree": tree,
    "cider_d": cider_d,
}


def check(problem: Problem) -> None:
    """Checks the metrics that a problem names.

    Raises:
      UserError: a metric is unknown, or the targets are not text.
    """
    for name in problem.metrics:
        if name not in METRICS:
            raise UserError(f"problem '{problem.name}': unknown metric '{name}'{did_you_mean(name, METRICS)}")
    if problem.metrics and not isinstance(problem.targets, Text):
        raise UserError(f"problem '{problem.name}': metrics need text targets; remove `metrics` or use Text targets")


def score(names: Sequence[str], answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Returns the scores of the named metrics, for answers and references in the same order.

    Raises:
      ValueError: the numbers of answers and references differ.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers, but {len(references)} references")
    scores: Scores = {}
    for name in names:
        scores |= METRICS[name](answers, references)
    return scores
