"""The joint that eases in."""

import pytest

from experiments.switch import robot_joint


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(robot_joint, robot_joint.Config(amplitudes=5))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())
