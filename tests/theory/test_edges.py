"""Values and gradients in float32 at the ends of the arguments, against mpmath and closed forms."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from sigjax.theory import (
    jacobian_moments,
    mean_field,
    saxe_curve,
    saxe_half_time,
    sigmoid_gradient_bound,
)

TINY = float(jnp.finfo(jnp.float32).tiny)


def curve(time, s, initial, tau):
    """The closed form; the limit for s = 0."""
    if s == 0:
        return initial / (1 + 2 * initial * time / tau)
    grown = mp.exp(2 * s * time / tau)
    return s * grown / (grown - 1 + s / initial)


def half_time(s, initial, tau):
    return tau / (2 * s) * mp.log(s / initial - 1)


# time, singular value, initial strength, time constant
POINTS = (
    (50.0, -1.0, 1e-6, 1.0),
    (20.0, -1.0, 1e-6, 1.0),
    (10.0, 1.0, 1e-6, 1.0),
    (25.0, 1.0, 0.1, 1.0),
    (20.0, 1.0, 1e-30, 1.0),
    (0.0, 1.0, 0.3, 1.0),
    (1.0, 1e-20, 0.3, 2.0),
    (-40.0, 1.0, 1e-6, 1.0),
    (-400.0, 1.0, 0.5, 1.0),
    (3e38, 1.0, 0.1, 1.0),
    (5.0, 0.2, 0.9, 1.0),
    (-0.01, 1.0, 2.0, 1.0),
    (30.0, 3e38, 1e38, 1e38),
    (1e-37, 1.0, 0.1, 1e-30),
)


@pytest.mark.parametrize("point", POINTS)
def test_the_curve_and_its_gradient_at_the_ends(point):
    point = tuple(np.float32(x) for x in point)
    found = [saxe_curve(*point), *jax.grad(saxe_curve, (0, 1, 2, 3))(*point)]
    with mp.workdps(60):
        exact = tuple(map(mp.mpf, map(float, point)))
        orders = [(0,) * 4, *(tuple(int(i == j) for j in range(4)) for i in range(4))]
        truth = [float(mp.diff(curve, exact, order)) for order in orders]
    np.testing.assert_allclose(found, truth, rtol=2e-7, atol=TINY)


def test_the_curve_at_infinite_times_and_before_it_began():
    inf = np.float32(np.inf)
    times, values = np.array([inf, -inf, inf, inf, inf]), np.array([1, 1, -1, 0, 1])
    initial = np.array([0.1, 0.1, 0.1, 0.1, 2], np.float32)
    curve = saxe_curve(times, values.astype(np.float32), initial)
    np.testing.assert_array_equal(curve, [1, 0, 0, 0, 1])
    assert np.isnan(saxe_curve(-1.0, 1.0, 2.0))  # it was infinite at -log(2) / 2
    np.testing.assert_array_equal(jax.grad(saxe_curve, (0, 1, 2))(inf, 1.0, 0.1), [0, 1, 0])


@pytest.mark.parametrize(
    "point", [(3e38, 1.2e-38, 1.0), (1.0, 0.4999999, 1.0), (1e-30, 9e-31, 1.0)]
)
def test_the_half_time_at_the_ends(point):
    point = tuple(np.float32(x) for x in point)
    with mp.workdps(60):
        truth = float(half_time(*map(mp.mpf, map(float, point))))
    np.testing.assert_allclose(saxe_half_time(*point), truth, rtol=2e-7)


def test_the_bound_at_the_ends():
    np.testing.assert_array_equal(sigmoid_gradient_bound(jnp.zeros(0)), [0])
    assert sigmoid_gradient_bound(jnp.zeros((2, 0))).shape == (2, 1)
    norms = np.array([TINY, 4.0000005, 3e38], np.float32)
    for norm in norms:
        bound, slope = jax.value_and_grad(lambda n: sigmoid_gradient_bound(n[None])[0])(norm)
        np.testing.assert_allclose(bound, np.log10(norm.astype(np.float64) / 4), rtol=2e-7)
        np.testing.assert_allclose(slope, 1 / (norm.astype(np.float64) * np.log(10)), 2e-7, TINY)


def linear(x):
    return x


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("weight", "bias"), [(0.0, 0.5), (1e-30, 1e-5), (0.999, 1e3), (0.5, 1e5)])
def test_mean_field_of_a_linear_network_at_the_ends(weight, bias):
    """Its variance is b^2 / (1 - w^2)."""

    def variance(weight, bias):
        return mean_field(linear, weight, bias).q

    w, b = (float(np.float32(x)) for x in (weight, bias))
    found = [variance(w, b), *jax.grad(variance, (0, 1))(jnp.float32(w), jnp.float32(b))]
    rest = 1 - w**2
    truth = [b**2 / rest, 2 * w * b**2 / rest**2, 2 * b / rest]
    np.testing.assert_allclose(found, truth, rtol=1e-6, atol=TINY)


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e9])
def test_moments_of_a_linear_network_at_the_ends(weight):
    """Mean w^2L, variance L w^4L, and the upper edge w^2L (L + 1)^(L + 1) / L^L."""
    depth = 2
    moments = functools.partial(jacobian_moments, linear, q=0.0, depth=depth)
    w = float(np.float32(weight))
    found = moments(jnp.float32(w))
    mean = w ** (2 * depth)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(found.largest, 6.75 * mean, rtol=1e-6)
    slope = jax.grad(lambda w: moments(w).mean)(jnp.float32(w))
    np.testing.assert_allclose(slope, 2 * depth * mean / w, rtol=1e-6, atol=TINY)


def test_arguments_in_the_forms_that_people_bring():
    times = np.linspace(0, 3, 4)
    expected = saxe_curve(times.astype(np.float32), 1.0, 0.1)
    for form in (
        times.astype(">f8"),
        times.astype(np.float16),
        np.repeat(times, 2)[::2],
        np.ma.array(times),
    ):
        np.testing.assert_allclose(saxe_curve(form, 1.0, 0.1), expected, rtol=2e-7)
    np.testing.assert_array_equal(sigmoid_gradient_bound(np.array([4, 4])), [0, 0, 0])
    with pytest.raises(ValueError, match="'time' must have no masked values"):
        saxe_curve(np.ma.array(times, mask=times > 1), 1.0, 0.1)
    with pytest.raises(TypeError, match="'weight_std' must be real numbers"):
        mean_field(jnp.tanh, times.astype(object))
