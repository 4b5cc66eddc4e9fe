"""Curves of several seeds."""

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from experiments.harness.bands import mean_and_range


def test_the_line_is_the_mean_and_the_band_spans_all_seeds():
    seeds = xr.DataArray([[0.0, 2.0], [3.0, 4.0], [6.0, 3.0]], dims=("seed", "step"))
    _, axis = plt.subplots()
    line = mean_and_range(axis, [1, 2], seeds, "--", color="C3", label="curve")
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3], [2, 3]])
    assert (line.get_linestyle(), line.get_label()) == ("--", "curve")
    (band,) = axis.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(1, 0), (1, 6), (2, 2), (2, 4)}
