"""Mean field against Gauss-Hermite in NumPy, closed forms and published constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax
from sigjax.theory import critical_weight_std, gaussian_expectation, mean_field


def hard_tanh(x):
    return jnp.clip(x, -1, 1)


def test_expectation_of_moments_and_kinks():
    np.testing.assert_allclose(gaussian_expectation(lambda z: z**4), 3, rtol=1e-5)
    np.testing.assert_allclose(gaussian_expectation(jax.nn.relu), 1 / np.sqrt(2 * np.pi), rtol=1e-5)
    inside = gaussian_expectation(lambda z: (jnp.abs(z) < 1).astype(z.dtype))
    np.testing.assert_allclose(inside, 0.6826894921, atol=3e-4)


# Settings of Schoenholz et al. 2017 and Poole et al. 2016; values by adaptive quadrature in
# float64 (the last row is steep: a Gauss-Hermite rule of 100 nodes misses its chi_1 by 5 %).
@pytest.mark.parametrize(
    ("weight_variance", "bias_variance", "q", "chi1"),
    [
        (1.0, 0.05, 0.19359, 0.75903),
        (1.5, 0.05, 0.41804, 0.93864),
        (2.0, 0.05, 0.72176, 1.04767),
        (4.0, 0.05, 2.19549, 1.34240),
        (1.3**2, 0.09, 0.60705, 0.93981),
        (2.5**2, 0.09, 4.07912, 1.58523),
        (4.0**2, 0.09, 12.60415, 2.36726),
    ],
)
def test_tanh(weight_variance, bias_variance, q, chi1):
    found = mean_field(jnp.tanh, weight_variance**0.5, bias_variance**0.5)
    np.testing.assert_allclose(found, (q, chi1), rtol=1e-4)


def test_logistic_with_standard_weights_against_gauss_hermite():
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(100):
        q = weights @ (1 / (1 + np.exp(-np.sqrt(q) * nodes))) ** 2 / 3
    value = 1 / (1 + np.exp(-np.sqrt(q) * nodes))
    chi1 = weights @ (value * (1 - value)) ** 2 / 3
    found = mean_field(sigjax.sigmoid, 3**-0.5)
    np.testing.assert_allclose(found, (q, chi1), rtol=1e-5)
    np.testing.assert_allclose(found.chi1**0.5, 0.1415, rtol=1e-3)


def test_relu_has_no_preferred_variance():
    dying, steady, growing = (mean_field(jax.nn.relu, std) for std in (1.0, 2**0.5, 2.0))
    assert (dying.q, growing.q) == (0, jnp.inf)
    np.testing.assert_allclose([x.chi1 for x in (dying, steady, growing)], [0.5, 1, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "bias_std", "expected", "rtol"),
    [
        (jax.nn.relu, 0.0, 2**0.5, 1e-5),
        # chi_1 touches 1 quadratically where q starts to leave 0.
        (jnp.tanh, 0.0, 1.0, 3e-3),
        (hard_tanh, 0.0, 1.0, 3e-3),
        (jnp.tanh, 0.05**0.5, 1.760955**0.5, 1e-4),
        (jnp.tanh, 0.3, 1.39558, 1e-4),
    ],
)
def test_critical_weight_std(activation, bias_std, expected, rtol):
    np.testing.assert_allclose(critical_weight_std(activation, bias_std), expected, rtol=rtol)


def test_logistic_is_critical_only_as_a_step():
    std = critical_weight_std(sigjax.sigmoid)
    # chi_1 -> sigma_w / (6 sqrt(pi)) for a step, 10.63 at chi_1 = 1
    np.testing.assert_allclose(std, 6 * np.sqrt(np.pi), rtol=0.05)
    np.testing.assert_allclose(mean_field(sigjax.sigmoid, std).chi1, 1, rtol=1e-3)


def test_silu_jumps_over_critical():
    assert jnp.isnan(critical_weight_std(sigjax.silu))
