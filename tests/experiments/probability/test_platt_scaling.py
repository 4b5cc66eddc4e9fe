"""Calibration by Platt and by temperature."""

import pytest

from experiments.probability import platt_scaling


@pytest.mark.proof
def test_platt_scaling(small_run):
    config = platt_scaling.Config(pairs=4, splits=3, repeats=8, logits=5000)
    found = small_run(platt_scaling, config)
    assert all(claim.verdict != "fails" for claim in found.values())
