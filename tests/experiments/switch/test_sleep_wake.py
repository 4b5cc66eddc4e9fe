"""The brain that falls asleep."""

import numpy as np
import pytest

from experiments.switch import sleep_wake


@pytest.mark.proof
def test_all_claims_hold(small_run):
    found = small_run(sleep_wake, sleep_wake.Config(settling=10, minutes=2.0))
    assert len(found) >= 8
    assert all(claim.verdict != "fails" for claim in found.values())


def test_sleep_is_drawn_where_the_week_cuts_it():
    episodes = sleep_wake._episodes(np.array([10.0, 160.0]), np.array([5.0, 18.0]))
    assert episodes == [(0.0, 5.0), (10.0, 18.0), (160.0, 168.0)]
