"""The mixture of problems with one training example or none."""

from types import SimpleNamespace

import pytest
from checks import problem

from t2t_lite.hparams import HParams
from t2t_lite.problems import Text
from t2t_lite.training.mixture import TrainingMixture


def mixture(counts, **hparams):
    datasets = {
        name: SimpleNamespace(
            problem=problem(name, Text(max_length=64), Text(max_length=64)),
            split=lambda split, count=count: SimpleNamespace(positions={8: count} if count else {}),
        )
        for name, count in counts.items()
    }
    return TrainingMixture(list(counts), datasets, HParams(**hparams))


@pytest.mark.parametrize("counts,expected", [({"a": 1, "b": 3}, (0.25, 0.75)), ({"a": 0, "b": 3}, (0.25, 0.75))])
def test_a_problem_counts_as_one_example_at_least(counts, expected):
    rates = mixture(counts, mixture="proportional").rates
    assert tuple(rates.values()) == pytest.approx(expected)


def test_a_problem_without_examples_has_no_epochs_and_no_tokens():
    rows = mixture({"a": 0, "b": 8}, batch_tokens=64, batch_max_examples=8).rows
    assert (rows["a"].batches, rows["a"].tokens, rows["b"].batches, rows["b"].tokens) == (0, 0, 1, 64)
    assert rows["a"].epochs(10) == 5.0 and rows["b"].epochs(10) == 5.0


def test_shares_of_tokens_of_a_problem_of_one_position_a_batch():
    rows = mixture({"a": 1, "b": 1}, mixture_unit="tokens").rows
    assert rows["a"].rate == rows["b"].rate == 0.5
