"""Logistic regression on a small data set."""

import pytest

from experiments.probability import logistic_regression


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(logistic_regression, logistic_regression.Config(adam_steps=2000))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())
