"""The speed of gates."""

import dataclasses

import numpy as np
import pytest

from experiments.gates import speed_gates


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run, monkeypatch):
    """Of one cell: most of the time is that of compiling."""
    monkeypatch.setattr(speed_gates, "CELLS", ("GRU",))
    found = small_run(
        speed_gates,
        dataclasses.replace(
            speed_gates.Config.quick(),
            length=2,
            batch=2,
            inputs=3,
            hidden=4,
            rounds=1,
            rounds_of_preparation=1,
        ),
    )
    assert found
    assert all(np.isfinite(claim.expected) for claim in found.values())
