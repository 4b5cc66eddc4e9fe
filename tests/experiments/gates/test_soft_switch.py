"""Two experts and the switch between them."""

import dataclasses

import numpy as np
import pytest

from experiments.gates import soft_switch


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run):
    found = small_run(
        soft_switch, dataclasses.replace(soft_switch.Config.quick(), steps=5, seeds=2, examples=16)
    )
    assert found
    assert all(np.isfinite(claim.measured) for claim in found.values())
