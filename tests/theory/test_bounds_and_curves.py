"""The bound against real products of matrices; the learning curve against its equation."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sigjax.theory import saxe_curve, saxe_half_time, sigmoid_gradient_bound


def test_bound_is_the_chain_of_norms_over_four():
    rng = np.random.default_rng(1)
    matrices = [rng.standard_normal((6, 6)) * scale for scale in (1.0, 0.2, 3.0)]
    norms = jnp.array([np.linalg.norm(m, 2) for m in matrices])
    bounds = np.asarray(sigmoid_gradient_bound(norms))
    delta = rng.standard_normal(6)
    top = np.linalg.norm(delta)
    for layer in (2, 1, 0):
        slope = rng.uniform(0, 0.25, 6)
        delta = slope * (matrices[layer].T @ delta)
        assert np.log10(np.linalg.norm(delta) / top) <= bounds[layer]
    np.testing.assert_allclose(bounds[-2], np.log10(norms[-1] / 4), rtol=1e-5)
    assert bounds[-1] == 0
    with pytest.raises(ValueError, match="axis of layers"):
        sigmoid_gradient_bound(1.0)


@pytest.mark.parametrize(("s", "initial"), [(2.0, 1e-6), (0.5, 0.9), (1.0, 1.0), (0.0, 0.3)])
def test_curve_solves_its_equation(s, initial):
    tau, times = 1.7, np.linspace(0, 12, 25)
    solved = solve_ivp(
        lambda _, u: 2 * u * (s - u) / tau, (0, 12), [initial], "DOP853", times, rtol=1e-11, atol=0
    )
    found = saxe_curve(times.astype(np.float32), s, initial, tau)
    np.testing.assert_allclose(found, solved.y[0], rtol=3e-5)


def test_half_time():
    half = saxe_half_time(3.0, 1e-3, 2.0)
    np.testing.assert_allclose(saxe_curve(half, 3.0, 1e-3, 2.0), 1.5, rtol=1e-5)
    assert jnp.isnan(saxe_half_time(1.0, 1.5))
