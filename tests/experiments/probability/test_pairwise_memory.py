"""Memory of the pairwise loss."""

import dataclasses

import numpy as np
import pytest

from experiments.harness.usage import UsageError
from experiments.probability import pairwise_memory


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run):
    found = small_run(
        pairwise_memory,
        dataclasses.replace(
            pairwise_memory.Config.quick(),
            pairs=(64, 16_384),
            largest_run=64,
            chunks=(16,),
            rounds=1,
        ),
    )
    assert found
    assert all(np.isfinite(claim.expected) for claim in found.values())


def test_refusal():
    with pytest.raises(UsageError, match="--pairs must be numbers with 16384"):
        pairwise_memory.Config(pairs=(64,))
