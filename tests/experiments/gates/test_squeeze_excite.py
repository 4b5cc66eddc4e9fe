"""Attention to channels."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

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


def test_the_gain_is_of_pairs():
    """Seeds that differ by ten points, all of whom gain one with gates, have an error of 0."""
    without = np.array([0.7, 0.8, 0.9])
    accuracy = xr.DataArray(
        np.stack([without, without + 0.005, without + 0.015]),
        dims=("reduction", "seed"),
        coords={"reduction": [0, 4, 16], "seed": range(3)},
    )
    mean, error = squeeze_excite.gain(xr.Dataset({"accuracy": accuracy}))
    assert mean == pytest.approx(0.01)
    assert error == pytest.approx(0, abs=1e-12)


def test_refusal():
    with pytest.raises(UsageError, match="one of --reductions 4 16, got 3"):
        squeeze_excite.Config(drawn_reduction=3)
