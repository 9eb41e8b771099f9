"""Metrics of decoded text. A problem names those it wants; each gives one figure or more."""

from collections.abc import Callable, Sequence

from t2t_lite.errors import UserError, did_you_mean
from t2t_lite.evaluation import brackets, cider
from t2t_lite.problems import Problem
from t2t_lite.problems.features import Text

Figures = dict[str, float | str]


def bleu(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Corpus BLEU, 0 to 100, as sacrebleu computes it with its own tokenizer, and the signature that says how."""
    import sacrebleu

    metric = sacrebleu.metrics.BLEU()
    score = metric.corpus_score(list(answers), [list(references)]).score
    return {"bleu": float(score), "bleu_signature": str(metric.get_signature())}


def chrf(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Corpus chrF2, 0 to 100: F-score of character n-grams, as sacrebleu computes it, and its signature."""
    import sacrebleu

    metric = sacrebleu.metrics.CHRF()
    score = metric.corpus_score(list(answers), [list(references)]).score
    return {"chrf": float(score), "chrf_signature": str(metric.get_signature())}


def wer(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Word error rate: words substituted, left out and put in, over the words of the references. 0 is perfect.

    Words are what white space separates; case and punctuation count. Above 1 where answers are too long.
    """
    import jiwer

    return {"wer": _error_rate(jiwer.wer, answers, references)}


def cer(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Character error rate: as `wer`, of characters; a run of white space is one of them, at the ends it is none."""
    import jiwer

    return {"cer": _error_rate(jiwer.cer, answers, references)}


def _error_rate(rate: Callable[..., float], answers: Sequence[str], references: Sequence[str]) -> float:
    answers, references = ([" ".join(text.split()) for text in texts] for texts in (answers, references))
    if not any(references):
        return 1.0 if any(answers) else 0.0
    return float(rate(references, answers))


def tree(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Trees in linear form: the share, 0 to 1, right as a whole, tags too; and evalb's figures (brackets.py)."""
    right = sum(answer.split() == reference.split() for answer, reference in zip(answers, references, strict=True))
    return {"accuracy_trees": right / max(len(references), 1), **brackets.score_trees(answers, references)}


def cider_d(answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Mean CIDEr-D of captions with one reference each, 0 to 10 (cider.py)."""
    scores = cider.cider_d(answers, [[reference] for reference in references])
    return {"cider_d": sum(scores) / max(len(scores), 1)}


METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], Figures]] = {
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
      UserError: one is unknown, or there is no text to score.
    """
    for name in problem.metrics:
        if name not in METRICS:
            raise UserError(f"problem '{problem.name}': unknown metric '{name}'{did_you_mean(name, METRICS)}")
    if problem.metrics and not isinstance(problem.targets, Text):
        raise UserError(f"problem '{problem.name}': metrics are of texts, and its targets are none")


def score(names: Sequence[str], answers: Sequence[str], references: Sequence[str]) -> Figures:
    """Returns the figures of the metrics named, for answers and references in the same order.

    Raises:
      ValueError: there are not as many answers as references.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers to {len(references)} references")
    figures: Figures = {}
    for name in names:
        figures |= METRICS[name](answers, references)
    return figures
