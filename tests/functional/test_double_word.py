"""Numbers of two words against exact sums and mpmath."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from sigjax.functional import _double_word as words

DTYPES = [np.float32, np.float64]
COUNT = 600


@pytest.fixture(autouse=True)
def precision():
    with jax.enable_x64(True), mp.workdps(60):
        yield


def spread(dtype, decades, seed):
    """Numbers of both signs over many powers of ten."""
    generator = np.random.default_rng(seed)
    sizes = 10.0 ** generator.uniform(-decades, decades, COUNT)
    return jnp.asarray(sizes * generator.choice([-1, 1], COUNT), dtype)


def exact(*parts):
    """Element by element, the sum of arrays as fractions."""
    return [sum(map(Fraction, row)) for row in zip(*(p.tolist() for p in parts), strict=True)]


def errors(found, truths):
    """Errors of two words, in ulps of the high one."""
    high, low = map(np.asarray, found)
    sums = [mp.mpf(a) + mp.mpf(b) for a, b in zip(high.tolist(), low.tolist(), strict=True)]
    ulps = np.spacing(np.abs(high)).tolist()
    return [abs(s - t) / u for s, t, u in zip(sums, truths, ulps, strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_products_lose_nothing(dtype):
    a, b = spread(dtype, 6, 0), spread(dtype, 6, 1)
    assert exact(*jax.jit(words.two_sum)(a, b)) == exact(a, b)
    found = jax.jit(words.two_product)(a, b)
    products = [x * y for x, y in zip(exact(a), exact(b), strict=True)]
    ulps = map(Fraction, np.spacing(np.abs(found.high)).tolist())
    lost = 0 if dtype == np.float32 else Fraction(1, 2**52)
    for x, y, ulp in zip(exact(*found), products, ulps, strict=True):
        assert abs(x - y) <= lost * ulp


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_difference_has_all_digits_at_every_size(dtype):
    """Down to subnormal numbers, which XLA's CPU takes for 0, and up to the largest."""
    largest, least = float(jnp.finfo(dtype).max), float(jnp.finfo(dtype).smallest_subnormal)
    a = jnp.asarray([1.0, largest, 3 * least, 1e-30, 0.1], dtype)
    b = jnp.asarray([1e-9, -largest, least, 1e-38, 0.3], dtype)
    high, low, exponent = jax.jit(words.difference)(a, b)
    scales = [Fraction(2) ** k for k in jnp.broadcast_to(exponent, a.shape).tolist()]
    found = [x * scale for x, scale in zip(exact(high, low), scales, strict=True)]
    assert found == [x - y for x, y in zip(exact(a), exact(b), strict=True)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_err_by_a_fraction_of_an_ulp(dtype):
    decades = 36 if dtype == np.float32 else 300
    generator = np.random.default_rng(2)
    near_1 = jnp.asarray(generator.uniform(0.3, 3, COUNT), dtype)
    high = jnp.concatenate([jnp.abs(spread(dtype, decades, 3)), near_1])
    low = high * jnp.asarray(generator.uniform(-0.4, 0.4, 2 * COUNT), dtype) * jnp.finfo(dtype).eps
    truths = [
        mp.log(mp.mpf(a) + mp.mpf(b)) - 5 * mp.log(2)
        for a, b in zip(high.tolist(), low.tolist(), strict=True)
    ]
    assert max(errors(jax.jit(words.log)(words.Scaled(high, low, -5)), truths)) < 0.1

    t = jnp.asarray(generator.uniform(-0.5, 1, COUNT), dtype)
    rest = t * jnp.finfo(dtype).eps / 4
    truths = [
        mp.log1p(mp.mpf(a) + mp.mpf(b)) for a, b in zip(t.tolist(), rest.tolist(), strict=True)
    ]
    assert max(errors(jax.jit(words.log1p)(words.DoubleWord(t, rest)), truths)) < 0.2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_at_the_ends(dtype):
    high = jnp.asarray([0.0, -1.0, np.nan], dtype)
    none = jnp.zeros_like(high)
    found = words.log(words.Scaled(high, none, 0))
    np.testing.assert_array_equal(found.high + found.low, [-np.inf, np.nan, np.nan])
