"""Results of a suite without any training: `sample_results()`, for tests of tables and of the page."""

import random

from t2t_lite import registry
from t2t_lite.experiments.outcome import CUT_SHORT, DIVERGED, FINISHED, Outcome
from t2t_lite.experiments.plan import METHODS, Plan
from t2t_lite.experiments.results import make_results

SETTINGS = {"suite": "microworld", "hparams_set": "multimodel_tiny", "hparams": "", "model": "multi_model"}


def sample_plan(seeds=(0, 1, 2), suite=None, train_steps=1200, **options):
    """The plan of microworld with all tables, and all problems as targets of pairs and of leaving one out."""
    suite = suite or registry.suites.get("microworld")
    options = {"targets": (*suite.tasks, suite.small), "methods": METHODS} | options
    return Plan(suite, train_steps, seeds, **options)


def sample_outcomes(plan):
    """Random scores, better with more problems, worse for seed 0; one run has diverged and one was cut short."""
    outcomes = {}
    for name, run in plan.runs.items():
        rng = random.Random(name)
        scores = {}
        for problem in run.problems:
            loss = 2.5 - 0.1 * len(run.problems) + 0.05 * (run.seed == 0) + rng.gauss(0, 0.02)
            accuracy = 1 / (0.6 + loss / 3)
            decoded = {
                "parsing": {"accuracy_trees": accuracy / 2, "bracket_f1": accuracy},
                "speech": {"wer": 1 - accuracy, "cer": 1 - accuracy},
                "caption": {"bleu": 80 * accuracy, "cider_d": 5 * accuracy},
                "image": {},
            }
            scores[problem] = {
                "examples": 400,
                "loss": loss,
                "log_perplexity": loss,
                "accuracy": accuracy,
                "accuracy_per_sequence": accuracy / 3,
                "accuracy_top5": min(1.0, accuracy + 0.2),
                **decoded.get(plan.suite.task(problem).kind, {"bleu": 70 * accuracy, "chrf": 80 * accuracy}),
            }
        size = 1_200_000 - 300_000 * bool(run.changes)
        outcomes[name] = Outcome(FINISHED, run.train_steps, plan.estimate(run), size, scores)
    if {"alone-microworld_speech-seed0", "alone-microworld_enfr-seed0"} <= outcomes.keys():
        outcomes["alone-microworld_speech-seed0"] = Outcome(DIVERGED, 40, 30.0, message="the loss is not finite")
        outcomes["alone-microworld_enfr-seed0"] = Outcome(CUT_SHORT, 50, 20.0)
    return outcomes


def sample_results(seeds=(0, 1, 2), **options):
    """The contents of a results.json of microworld, as `t2t-experiments` writes it; scores are random."""
    plan = sample_plan(seeds, **options)
    return make_results("microworld", plan, SETTINGS | {"train_steps": plan.train_steps}, sample_outcomes(plan))
