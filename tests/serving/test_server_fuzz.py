"""Thousands of bad requests: the server stays up, answers none with a 5xx, and shows no internals."""

import pytest
from bad_requests import TEXT, attack
from serving_helpers import predict, running

from t2t_lite.serving.model import ExportedModel


@pytest.fixture(scope="module")
def port(fake_export):
    with running(ExportedModel(fake_export)) as port:
        yield port


def _survives(port, count, seed, caplog):
    statuses = attack(port, count, seed)
    assert sum(statuses.values()) == count
    assert {200, 400, 404, 405, 413, 415, 422} <= set(statuses)
    assert caplog.text == ""  # the server logs its failures
    status, answer = predict(port, TEXT, "whole")
    assert (status, answer["predictions"][0]["outputs"][0]) == (200, "de: WHOLE")


def test_bad_requests(port, caplog):
    _survives(port, 2000, 0, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_more_bad_requests(port, caplog, seed):
    _survives(port, 10_000, seed, caplog)
