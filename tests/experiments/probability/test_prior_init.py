"""A bias that knows how rare the positives are."""

import dataclasses

import numpy as np
import pytest

from experiments.probability import prior_init


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run):
    found = small_run(
        prior_init, dataclasses.replace(prior_init.Config.quick(), steps=4, seeds=1, batch=16)
    )
    assert found
    assert all(np.isfinite(claim.expected) for claim in found.values())
