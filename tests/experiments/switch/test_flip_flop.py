"""Two sigmoids that inhibit each other."""

import pytest

from experiments.switch import flip_flop


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(flip_flop, flip_flop.Config(sets=500))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())
