"""Batch normalisation."""

import numpy as np
import pytest
import xarray as xr

from experiments.depth import batch_norm


def test_the_first_step_at_an_accuracy():
    accuracy = xr.DataArray(
        [[0.1, 0.5, 0.4, 0.6], [0.1, 0.2, 0.2, 0.9]],
        dims=("network", "step"),
        coords={"network": list(batch_norm.NETWORKS), "step": [1, 3, 10, 30]},
    )
    first = batch_norm.first_steps(xr.Dataset({"accuracy": accuracy}))
    np.testing.assert_array_equal(first.sel(network="without"), [3, np.inf])
    np.testing.assert_array_equal(first.sel(network="with"), [30, 30])


@pytest.mark.proof
def test_batch_norm(small_run):
    found = small_run(batch_norm, batch_norm.Config.quick())
    assert all(claim.verdict != "fails" for claim in found.values())
