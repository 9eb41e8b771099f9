"""Figures of trivial answers, by the metrics of the project: what a model must beat."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from t2t_lite.errors import UserError
from t2t_lite.evaluation import metrics
from t2t_lite.problems.features import Label, Text
from t2t_lite.problems.mixture import Mixture
from t2t_lite.problems.problem import Problem, get_problem

Figures = dict[str, dict[str, dict[str, float]]]  # {problem: {answer: {metric: score}}}


def problems_of(mixture: Mixture, raw: Path) -> dict[str, Problem]:
    """The problems of the mixture whose folders `raw` has.

    Raises:
      UserError: it has none of them.
    """
    problems = {name: get_problem(name) for name in mixture.rates}
    found = {name: problem for name, problem in problems.items() if (raw / problem.source).is_dir()}
    if not found:
        names = ", ".join(sorted({problem.source for problem in problems.values()}))
        raise UserError(f"--raw: {raw}: none of {names} is there: `real_eight.py raw --output={raw}` makes them")
    return found


def score(problem: Problem, raw: Path, split: str) -> dict[str, dict[str, float]]:
    """Returns {answer: {metric: score}} of the trivial answers to a problem."""
    folder = raw / problem.source
    problem.resolve(folder)
    train = _examples(problem, folder, "train")
    held_out = _examples(problem, folder, split)
    references = [str(example["targets"]) for example in held_out]
    counts = Counter(str(example["targets"]) for example in train)
    most_frequent = min(counts, key=lambda text: (-counts[text], text))
    answers = {"the most frequent answer": [most_frequent] * len(references)}
    if isinstance(problem.targets, Text):
        drawn = random.Random(0)
        targets = [str(example["targets"]) for example in train]
        answers["an answer of training by chance"] = [drawn.choice(targets) for _ in references]
    if "wer" in problem.metrics:
        answers["no words"] = [""] * len(references)
    if isinstance(problem.inputs, Text) and "tree" not in problem.metrics:
        answers["the input repeated"] = [str(example["inputs"]) for example in held_out]
    return {name: _score(problem, each, references) for name, each in answers.items()}


def _examples(problem: Problem, folder: Path, split: str) -> list[dict[str, Any]]:
    examples = []
    for item in problem.examples(split, folder):
        if isinstance(item, UserError):
            raise item
        examples.append(item)
    return examples


def _score(problem: Problem, answers: list[str], references: list[str]) -> dict[str, float]:
    if isinstance(problem.targets, Label):
        return {"accuracy": sum(map(str.__eq__, answers, references)) / len(references)}
    scores = metrics.score(problem.metrics, answers, references)
    return {name: value for name, value in scores.items() if not isinstance(value, str)}


def table(figures: Figures) -> str:
    """The figures as a Markdown table."""
    lines = ["| problem | answer | figures |", "|---|---|---|"]
    for problem, answers in figures.items():
        for answer, scores in answers.items():
            lines.append(
                f"| {problem} | {answer} | {', '.join(f'{name} {value:.3f}' for name, value in scores.items())} |"
            )
    return "\n".join(lines)
