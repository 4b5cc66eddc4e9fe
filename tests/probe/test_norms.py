"""Norms whose squares leave the range of float32, against mpmath."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from sigjax.probe import normalized, safe_norm


def exact_norm(*arrays: jax.Array) -> float:
    values = [float(x) for array in arrays for x in np.asarray(array, np.float64).ravel()]
    return float(mpmath.sqrt(mpmath.fsum(mpmath.mpf(x) ** 2 for x in values)))


@pytest.mark.parametrize("magnitude", [1e-37, 1e-30, 1e-20, 1.0, 1e20, 1e30, 1e37])
def test_safe_norm_at_any_magnitude(magnitude):
    tree = {
        "w": jax.random.normal(jax.random.key(0), (5, 7)) * magnitude,
        "b": jax.random.normal(jax.random.key(1), (3,)) * magnitude * 1e-3,
    }
    expected = exact_norm(tree["w"], tree["b"])
    np.testing.assert_allclose(safe_norm(tree), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(safe_norm)(tree), expected, rtol=1e-6)


def test_safe_norm_of_leaves_far_apart():
    tree = [jnp.full(4, 1e-30), jnp.full(4, 1e30), jnp.zeros(3)]
    np.testing.assert_allclose(safe_norm(tree), 2e30, rtol=1e-6)
    np.testing.assert_allclose(safe_norm([tree[0], tree[2]]), 2e-30, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_safe_norm_of_16_bit_sums_in_float32(dtype):
    norm = safe_norm(jnp.ones(10_000, dtype))
    assert norm.dtype == jnp.float32
    assert norm == 100


@pytest.mark.parametrize("tree", [[], {}, jnp.zeros(0), jnp.zeros((2, 3)), [jnp.zeros(1)] * 2])
def test_safe_norm_of_nothing_is_zero(tree):
    assert safe_norm(tree) == 0


@pytest.mark.parametrize("value", [jnp.inf, -jnp.inf, jnp.nan])
def test_safe_norm_shows_what_is_not_finite(value):
    norm = safe_norm(jnp.array([1.0, value]))
    assert not jnp.isfinite(norm)


@pytest.mark.parametrize("magnitude", [1.2e-38, 1e-20, 1.0, 3.0, 1e38])
def test_normalized_loses_nothing(magnitude):
    x = jnp.array([1.0, -0.5, 0.0, 0.75]) * magnitude
    mantissa, exponent = normalized(x)
    assert 1 <= jnp.max(jnp.abs(mantissa)) < 4
    back = np.ldexp(np.asarray(mantissa, np.float64), int(exponent))
    # What was subnormal beside the largest element was 0 to the hardware before.
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-38)
    assert back[0] == x[0]


@pytest.mark.parametrize("value", [0.0, jnp.inf, jnp.nan])
def test_normalized_leaves_alone_what_has_no_exponent(value):
    mantissa, exponent = normalized(jnp.array([value]))
    np.testing.assert_array_equal(mantissa, [value])
    assert exponent == 0


def test_normalized_keeps_float64():
    with jax.enable_x64(True):
        mantissa, exponent = normalized(jnp.array([3e-300, 1e-301]))
        assert mantissa.dtype == jnp.float64
        np.testing.assert_array_equal(
            np.ldexp(np.asarray(mantissa), int(exponent)), [3e-300, 1e-301]
        )
