"""Batch normalisation."""

import pytest

from experiments.depth import batch_norm


@pytest.mark.proof
def test_batch_norm(small_run):
    found = small_run(batch_norm, batch_norm.Config(steps=1500))
    assert all(claim.verdict != "fails" for claim in found.values())
