"""The curve, its slope and chains of it."""

import jax
import mpmath
import numpy as np
import pytest

from experiments.functions import sigmoid_and_slope


def test_all_claims_hold(small_run):
    found = small_run(sigmoid_and_slope, sigmoid_and_slope.Config(points=4_001))
    interpolated = {"z where the output is 0.99", "|z| from which on the slope is below 0.01"}
    # ten times as coarse a grid, a hundred times the error of interpolation
    assert all(abs(found[name].measured - found[name].expected) < 1e-4 for name in interpolated)
    assert all(c.verdict == "holds" for name, c in found.items() if name not in interpolated)


@pytest.mark.parametrize("place", [0.0, 1.0, 4.0])
def test_a_chain_passes_the_power_of_its_units_slope(place):
    with jax.enable_x64(True):
        passed = sigmoid_and_slope._chain(sigmoid_and_slope.ACTIVATIONS["sigmoid"], place)
    slope = float(mpmath.diff(lambda z: 1 / (1 + mpmath.exp(-z)), place))
    np.testing.assert_allclose(passed, slope ** np.arange(1, 31), rtol=1e-12)
