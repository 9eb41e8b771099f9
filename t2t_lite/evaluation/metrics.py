"""Metrics of decoded text: BLEU, word error rate, whole-tree accuracy. A problem names those it wants."""

from collections.abc import Callable, Sequence


def bleu(answers: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Corpus BLEU, 0 to 100, as sacrebleu computes it with its own tokenizer, and the signature that says how."""
    import sacrebleu

    metric = sacrebleu.metrics.BLEU()
    score = metric.corpus_score(list(answers), [list(references)]).score
    return {"bleu": float(score), "bleu_signature": str(metric.get_signature())}


def wer(answers: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Word error rate: words substituted, left out and put in, over the words of the references. 0 is perfect.

    Words are what white space separates; case and punctuation count. Above 1 where answers are too long.
    """
    import jiwer

    words = [" ".join(reference.split()) for reference in references]
    if not any(words):
        return {"wer": 0.0 if not any(answer.split() for answer in answers) else 1.0}
    return {"wer": float(jiwer.wer(words, [" ".join(answer.split()) for answer in answers]))}


def tree(answers: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """The share of sentences, 0 to 1, whose linearised tree is right as a whole, white space aside."""
    right = sum(answer.split() == reference.split() for answer, reference in zip(answers, references, strict=True))
    return {"accuracy_trees": right / len(references) if references else 0.0}


METRICS: dict[str, Callable[[Sequence[str], Sequence[str]], dict[str, float | str]]] = {
    "bleu": bleu,
    "wer": wer,
    "tree": tree,
}


def score(names: Sequence[str], answers: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """Returns the figures of the metrics named, for answers and references in the same order.

    Raises:
      ValueError: a metric is unknown, or there are not as many answers as references.
    """
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers to {len(references)} references")
    figures: dict[str, float | str] = {}
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric '{name}'; known: {', '.join(METRICS)}")
        figures |= METRICS[name](answers, references)
    return figures
