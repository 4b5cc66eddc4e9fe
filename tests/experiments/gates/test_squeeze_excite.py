"""Attention to channels."""

import dataclasses

import pytest

from experiments.gates import squeeze_excite
from experiments.harness.usage import UsageError


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run):
    found = small_run(
        squeeze_excite,
        dataclasses.replace(
            squeeze_excite.Config.quick(), features=4, reductions=(4,), steps=2, batch=4
        ),
    )
    assert found
    assert all(claim.verdict != "fails" for claim in found.values())


def test_refusal():
    with pytest.raises(UsageError, match="one of --reductions 4 16, got 3"):
        squeeze_excite.Config(drawn_reduction=3)
