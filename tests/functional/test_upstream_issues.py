"""Issues of other libraries that concern functions: what jax gives today, and what sigjax gives.

Each test is named after its issue and first shows the symptom, where jax still has it: if a
test fails there, the issue was mended upstream and the comparison can go.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logit as jax_logit

import sigjax


def derivative(function, order, x, dtype=jnp.float64):
    with jax.enable_x64(dtype == jnp.float64):
        for _ in range(order):
            function = jax.grad(function)
        return float(function(jnp.asarray(x, dtype)))


TAIL = 5.719837664462294e-17  # e^-37.4/(1 + e^-37.4)^2, mpmath


@pytest.mark.parametrize(("x", "truth"), [(40.0, 4.248354255291589e-18), (37.4, TAIL)])
def test_jax_40342_and_40385_sigmoid_slope_is_0_at_40(x, truth):
    assert derivative(jax.nn.sigmoid, 1, x) == 0
    assert derivative(sigjax.sigmoid, 1, x) == pytest.approx(truth, rel=1e-15)


def test_jax_40383_log_sigmoid_curvature_is_0():
    assert derivative(jax.nn.log_sigmoid, 2, -37.4) == 0
    assert derivative(sigjax.log_sigmoid, 2, -37.4) == pytest.approx(-TAIL, rel=1e-15)


def test_jax_40387_softplus_curvature_is_0():
    assert derivative(jax.nn.softplus, 2, 37.4) == 0
    assert derivative(sigjax.softplus, 2, 37.4) == pytest.approx(TAIL, rel=1e-15)


def test_jax_39798_silu_slope_is_lost_at_minus_709():
    truth = -8.615165237415186e-306  # (1 - 709) e^-709, mpmath
    assert abs(derivative(jax.nn.silu, 1, -709.0) / truth - 1) > 1e-4
    assert derivative(sigjax.silu, 1, -709.0) == pytest.approx(truth, rel=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_jax_2107_and_2140_gradients_at_0(dtype):
    assert derivative(sigjax.softplus, 1, 0.0, dtype) == 0.5
    assert derivative(sigjax.log_sigmoid, 1, 0.0, dtype) == 0.5
    assert derivative(sigjax.softplus, 2, 0.0, dtype) == 0.25


def test_jax_777_gradient_of_the_textbook_formula_is_nan():
    assert np.isnan(derivative(lambda x: 1 / (1 + jnp.exp(-x)), 1, -100.0, jnp.float32))
    assert derivative(sigjax.sigmoid, 1, -80.0, jnp.float32) == pytest.approx(
        1.804851e-35, rel=1e-6
    )
    assert derivative(sigjax.sigmoid, 1, -1000.0, jnp.float32) == 0


@pytest.mark.parametrize("x", [20.0, 50.0, 87.0])
def test_pytorch_195527_and_195681_tails_of_sigmoid_and_tanh(x):
    tail = np.exp(-x)
    assert derivative(jax.nn.sigmoid, 1, x, jnp.float32) == 0
    assert derivative(sigjax.sigmoid, 1, x, jnp.float32) == pytest.approx(tail, rel=1e-6)
    assert derivative(jnp.tanh, 1, x / 2, jnp.float32) == 0
    assert derivative(sigjax.tanh_from_sigmoid, 1, x / 2, jnp.float32) == pytest.approx(
        4 * tail, rel=1e-6
    )


@pytest.mark.parametrize("x", [20.0, 50.0, 87.0])
def test_pytorch_195530_and_195679_log_sigmoid_curvature_is_0(x):
    assert derivative(jax.nn.log_sigmoid, 2, -x, jnp.float32) == 0
    assert derivative(sigjax.log_sigmoid, 2, -x, jnp.float32) == pytest.approx(
        -np.exp(-x), rel=1e-6
    )


def test_pytorch_195682_silu_curvature_is_0():
    truth = (2 - 40.0) * np.exp(-40.0)  # and terms of e^-80
    assert derivative(sigjax.silu, 2, 40.0, jnp.float32) == pytest.approx(truth, rel=1e-6)
    assert derivative(jax.nn.silu, 2, 40.0, jnp.float32) == 0


def test_pytorch_31110_and_55587_softplus_does_not_jump():
    x = jnp.linspace(19.0, 21.0, 4001)
    steps = np.diff(np.asarray(sigjax.softplus(x), np.float64)) - np.diff(np.asarray(x, np.float64))
    assert np.abs(steps).max() <= 4e-6  # two roundings of numbers near 20
    slopes = jax.vmap(jax.grad(sigjax.softplus))(x)
    assert np.all(np.diff(slopes) >= 0)


def test_tensorflow_123104_bfloat16_sigmoid_is_monotone():
    x = jnp.arange(2**16, dtype=jnp.uint16).view(jnp.bfloat16)
    x = jnp.sort(x[~jnp.isnan(x)])
    assert np.all(np.diff(np.asarray(sigjax.sigmoid(x), np.float64)) >= 0)


def test_pytorch_xla_4311_no_negative_values():
    x = jnp.linspace(-120.0, 0.0, 10001)
    naive = 0.5 + 0.5 * jnp.tanh(x / 2)
    assert jnp.sum(naive == 0) > 8000  # truth: above 1e-38 down to -87
    values = sigjax.sigmoid(x)
    assert jnp.all(values >= 0)
    assert jnp.all(values[x > -87] > 0)


def test_tfp_950_a_scaled_sigmoid_stays_below_its_upper_bound():
    x = jnp.linspace(-30.0, 30.0, 6001)
    low, high = jnp.float32(-0.46858385), jnp.float32(0.7797305)
    naive = low + (high - low) * jax.nn.sigmoid(x)
    assert jnp.max(naive) > high
    values = sigjax.bounded_sigmoid(x, low, high)
    assert jnp.max(values) == high
    assert jnp.min(values) == low


def test_tfp_1393_relaxed_bernoulli_gradients_are_finite():
    """A relaxed sample is sigma((logits + logistic noise)/temperature), often saturated."""
    logits, uniform = jnp.array([-12.0, 0.0, 12.0]), jnp.array([0.01, 0.5, 0.99])

    def log_sample_naive(logits):
        noise = jnp.log(uniform) - jnp.log(1 - uniform)
        return jnp.log(jax.nn.sigmoid((logits + noise) / 0.1)).sum()

    def log_sample(logits):
        return sigjax.log_sigmoid((logits + sigjax.logit(uniform)) / 0.1).sum()

    assert not jnp.all(jnp.isfinite(jax.grad(log_sample_naive)(logits)))
    np.testing.assert_allclose(jax.grad(log_sample)(logits), [10, 5, 0], atol=1e-30)


@pytest.mark.parametrize("p", [0.5001, 0.49999, 0.500001])
def test_log_exp_functions_98_scipy_21388_boost_1296_logit_near_one_half(p):
    p = jnp.float32(p)
    exact = float(p) - 0.5
    truth = np.log1p(2 * exact) - np.log1p(-2 * exact)
    assert abs(float(jax_logit(p)) / truth - 1) > 1e-6
    assert float(sigjax.logit(p)) == pytest.approx(truth, rel=1.2e-7)
