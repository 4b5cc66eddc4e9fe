"""The straight middle of the sigmoid."""

import pytest

from experiments.functions import linear_heart


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(linear_heart, linear_heart.Config(points=20_000))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())
