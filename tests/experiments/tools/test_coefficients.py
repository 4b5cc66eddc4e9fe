"""The polynomials in use are those that the fits give."""

import mpmath as mp
import numpy as np
import pytest

from experiments.tools.coefficients import fits, remez


@pytest.fixture(scope="module")
def fitted():
    return {fit.name: fit for fit in fits()}


@pytest.mark.parametrize("what", ["exp", "artanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_polynomials_in_use_are_fitted_again(fitted, dtype, what):
    fit = fitted[f"{dtype}: {what}"]
    if (dtype, what) == (
        "float32",
        "exp",
    ):  # not unique to the last digit: its error is what counts
        assert fit.error <= fit.kept_error <= 1.01 * fit.error
        np.testing.assert_allclose(fit.kept, fit.coefficients, rtol=1e-5)
    else:
        np.testing.assert_array_equal(
            np.asarray(fit.kept, dtype), np.asarray(fit.coefficients, dtype)
        )


@pytest.mark.slice
def test_best_polynomial_for_a_power_is_chebyshevs():
    # x^4 less its best cubic is T_4(x) / 8, whose largest value is 1/8.
    with mp.workdps(30):
        cubic = remez(lambda x: x**4, lambda _: mp.mpf(1), (mp.mpf(-1), mp.mpf(1)), powers=4)
    np.testing.assert_allclose(np.asarray(cubic, float), [0, 1, 0, -1 / 8], atol=1e-9)
