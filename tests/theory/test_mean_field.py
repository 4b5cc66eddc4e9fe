"""Mean field against quadrature in NumPy, closed forms and published constants."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax
from sigjax.theory import (
    critical_line,
    critical_weight_std,
    gaussian_expectation,
    gradient_profile,
    hermite_coefficients,
    mean_field,
)


def hard_tanh(x):
    return jnp.clip(x, -1, 1)


def test_expectation_of_moments_and_kinks():
    np.testing.assert_allclose(gaussian_expectation(lambda z: z**4), 3, rtol=1e-5)
    np.testing.assert_allclose(gaussian_expectation(jax.nn.relu), 1 / np.sqrt(2 * np.pi), rtol=1e-5)
    inside = gaussian_expectation(lambda z: (jnp.abs(z) < 1).astype(z.dtype))
    np.testing.assert_allclose(inside, 0.6826894921, atol=3e-4)


# q*, chi_1, c*, xi_q, xi_c, xi of the gradient: settings of Schoenholz et al. 2017 and Poole et
# al. 2016; values by adaptive quadrature in float64 (the last row is steep: a Gauss-Hermite rule
# of 100 nodes misses its chi_1 by 5 %).
@pytest.mark.parametrize(
    ("weight_variance", "bias_variance", "expected"),
    [
        (1.0, 0.05, (0.19359, 0.75903, 1, 1.748, 3.627, 3.627)),
        (1.5, 0.05, (0.41804, 0.93864, 1, 1.683, 15.79, 15.79)),
        (1.7, 0.05, (0.53308, 0.98674, 1, 1.558, 74.92, 74.92)),
        (2.0, 0.05, (0.72176, 1.04767, 0.74408, 1.388, 25.21, 21.48)),
        (4.0, 0.05, (2.19549, 1.34240, 0.16506, 0.8733, 6.980, 3.396)),
        (1.3**2, 0.09, (0.60705, 0.93981, 1)),
        (2.5**2, 0.09, (4.07912, 1.58523, 0.12210)),
        (4.0**2, 0.09, (12.60415, 2.36726, 0.02972)),
    ],
)
def test_tanh(weight_variance, bias_variance, expected):
    found = mean_field(jnp.tanh, weight_variance**0.5, bias_variance**0.5)
    # The scales are published to four digits.
    tolerance = [1e-4] * 3 + [3e-4] * 3
    for value, truth, rtol in zip(found, expected, tolerance, strict=False):
        np.testing.assert_allclose(value, truth, rtol=rtol, atol=3e-5)
    assert found.converged


def correlated_moment(function, q, c, nodes=400):
    """E f(u1) f(u2) by a product rule in NumPy."""
    z = np.linspace(-9, 9, nodes)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()
    first, other = np.meshgrid(z, z, indexing="ij")
    values = function(np.sqrt(q) * first) * function(
        np.sqrt(q) * (c * first + np.sqrt(1 - c**2) * other)
    )
    return weight @ values @ weight


@pytest.mark.parametrize(("weight_std", "bias_std"), [(1.6, 0.5), (3.0, 0.0), (4.5, 2.0)])
def test_correlation_is_the_fixed_point_of_a_double_integral(weight_std, bias_std):
    def logistic(x):
        return 1 / (1 + np.exp(-x))

    for activation, plain, slope in [
        (jnp.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        (lambda x: sigjax.sigmoid(4 * x) - 0.3, lambda x: logistic(4 * x) - 0.3, None),
    ]:
        found = mean_field(activation, weight_std, bias_std)
        q, c = float(found.q), float(found.c)
        again = (weight_std**2 * correlated_moment(plain, q, c) + bias_std**2) / q
        np.testing.assert_allclose(again, c, atol=2e-6)
        if slope is not None:
            chi_c = weight_std**2 * correlated_moment(slope, q, c)
            np.testing.assert_allclose(1 / abs(np.log(chi_c)), found.xi_c, rtol=1e-4)


def test_arrays_broadcast_and_vmap_gives_the_same():
    weight_std, bias_std = jnp.array([0.9, 1.5, 3.0]), jnp.array([[0.1], [0.4]])
    grid = mean_field(jnp.tanh, weight_std, bias_std)
    rows = jax.vmap(lambda b: mean_field(jnp.tanh, weight_std, b[0]))(bias_std)
    chex.assert_trees_all_close(grid, rows, rtol=1e-6)
    assert grid.q.shape == (2, 3)
    assert grid.q.dtype == jnp.float32


@pytest.mark.sampled(6)
@pytest.mark.parametrize("field", ["q", "chi1", "c", "xi_q", "xi_c"])
def test_derivatives_of_first_and_second_order(field):
    def quantity(std):
        return getattr(mean_field(jnp.tanh, std, 0.3), field)

    with jax.enable_x64(True):
        points = [float(quantity(2.5 + shift)) for shift in (-1e-3, 0.0, 1e-3)]
    first = (points[2] - points[0]) / 2e-3
    second = (points[2] - 2 * points[1] + points[0]) / 1e-6
    np.testing.assert_allclose(jax.jit(jax.grad(quantity))(2.5), first, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(jax.grad(quantity))(2.5), second, rtol=1e-3)


def test_what_has_no_fixed_point_is_no_number():
    exploding = mean_field(lambda x: x + x**3 / 10, 1.1, 0.1)
    assert not exploding.converged
    assert exploding.q == jnp.inf
    assert jnp.isnan(exploding.c)
    assert jnp.isnan(exploding.xi_q)
    silent = mean_field(jnp.tanh, 0.5)
    assert silent.converged
    assert (silent.q, silent.chi1) == (0, 0.25)
    assert jnp.isnan(silent.c)


@pytest.mark.parametrize("bad", [-1.0, np.inf, np.nan])
def test_refuses_what_is_no_standard_deviation(bad):
    with pytest.raises(ValueError, match="'weight_std' must be finite and not negative"):
        mean_field(jnp.tanh, bad)
    with pytest.raises(ValueError, match="bias_std"):
        mean_field(jnp.tanh, 1.0, bad)


def test_logistic_with_standard_weights_against_gauss_hermite():
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(100):
        q = weights @ (1 / (1 + np.exp(-np.sqrt(q) * nodes))) ** 2 / 3
    value = 1 / (1 + np.exp(-np.sqrt(q) * nodes))
    chi1 = weights @ (value * (1 - value)) ** 2 / 3
    found = mean_field(sigjax.sigmoid, 3**-0.5)
    np.testing.assert_allclose(found[:2], (q, chi1), rtol=1e-5)
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
        (jnp.tanh, 0.0, 1.0, 1e-4),
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


def test_critical_line_passes_through_the_critical_points():
    point = critical_line(jnp.tanh, jnp.array([0.025, 0.57005, 1.0]))
    found = mean_field(jnp.tanh, point.weight_std, point.bias_std)
    np.testing.assert_allclose(found.chi1, 1, rtol=1e-5)
    np.testing.assert_allclose(found.q, [0.025, 0.57005, 1.0], rtol=1e-3)
    np.testing.assert_allclose(point.weight_std[1] ** 2, 1.760955, rtol=1e-4)
    # the logistic's own mean brings more variance than these
    assert jnp.isnan(critical_line(sigjax.sigmoid, 1.0).bias_std)


def test_critical_weight_std_moves_with_the_biases():
    slope = jax.grad(lambda b: critical_weight_std(jnp.tanh, b))(0.3)
    low, high = (critical_weight_std(jnp.tanh, 0.3 + shift) for shift in (-1e-2, 1e-2))
    np.testing.assert_allclose(slope, (high - low) / 2e-2, rtol=1e-3)


def test_critical_weight_std_refuses_no_bracket():
    with pytest.raises(ValueError, match="bracket"):
        critical_weight_std(jnp.tanh, bracket=(2.0, 1.0))


def test_hermite_coefficients_of_a_step_and_an_exponential():
    step = hermite_coefficients(lambda z: (z > 0).astype(z.dtype))
    np.testing.assert_allclose(step[:2], [0.5, 1 / np.sqrt(2 * np.pi)], rtol=1e-4)
    # exp(z) = sqrt(e) sum h_k / sqrt(k!)
    found = hermite_coefficients(jnp.exp)[:4]
    np.testing.assert_allclose(found, np.e**0.5 / np.sqrt([1, 1, 2, 6]), rtol=1e-5)


def test_gradient_profile_of_relu_is_a_straight_line_and_tends_to_the_fixed_point():
    straight = gradient_profile(jax.nn.relu, 1.0, depth=11)
    np.testing.assert_allclose(straight.log10_norm, np.arange(-10, 1) * np.log10(2) / 2, rtol=1e-5)
    deep = gradient_profile(jnp.tanh, 1.5, 0.3, depth=60, input_variance=4.0)
    fixed = mean_field(jnp.tanh, 1.5, 0.3)
    np.testing.assert_allclose((deep.q[-1], deep.chi[-1]), fixed[:2], rtol=1e-5)
    np.testing.assert_allclose(deep.q[0], 1.5**2 * 4 + 0.09, rtol=1e-6)
    with pytest.raises(ValueError, match="depth"):
        gradient_profile(jnp.tanh, 1.0, depth=0)
