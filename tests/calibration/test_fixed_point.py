"""Sums in fixed point against exact fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.calibration import _fixed_point

# The ends, what has digits everywhere, and what is below the last digit.
TRICKY = [0.0, 1.0, 0.5, 0.1, 1 / 3, 0.7, 1 - 2**-24, 2**-15, 2**-16, 3e-5, 1.1e-9, 2**-45, 1e-30]


def value(digits, base):
    return sum((Fraction(int(d), base**k) for k, d in enumerate(digits, 1)), Fraction(0))


@pytest.mark.parametrize(("dtype", "base"), [("float32", 2**15), ("float64", 2**30)])
def test_digits_and_products_are_cut_off_at_the_third(dtype, base):
    with jax.enable_x64(True):
        x = jnp.asarray(TRICKY, dtype)
        digits = np.stack(_fixed_point.to_digits(x), axis=1)
        pairs = np.meshgrid(np.arange(len(TRICKY)), np.arange(len(TRICKY)))
        a, b = (tuple(jnp.asarray(digits[i.ravel()].T)) for i in pairs)
        products = np.stack(_fixed_point.product(a, b), axis=1)
    exact = [Fraction(float(v)) for v in x]
    last = Fraction(1, base**3)
    for row, truth in zip(digits, exact, strict=True):
        assert 0 <= truth - value(row, base) < last
    for row, i, j in zip(products, *(i.ravel() for i in pairs), strict=True):
        truth = value(digits[i], base) * value(digits[j], base)
        assert 0 <= truth - value(row, base) < 4 * last


@pytest.mark.parametrize("count", [1, 7, 64, 1000, 2**17 + 2])
def test_sums_are_exact_in_every_segment(count):
    rng = np.random.default_rng(count)
    x, segment = rng.random(count, dtype=np.float32), rng.integers(0, 3, count)
    found = _fixed_point.sum_by_segment(
        lambda x, segment: (segment, [_fixed_point.to_digits(x)]),
        (jnp.asarray(x), jnp.asarray(segment, jnp.int32)),
        3,
        count_terms=True,
    )
    unit = 2.0**45
    whole = np.floor(x.astype(np.float64) * unit).astype(np.int64)
    for i in range(3):
        assert int(found.terms[i]) == (segment == i).sum()
        fraction = value(found.digits[i, 0], 2**15)
        total = int(found.whole[i, 0]) + fraction
        assert total == Fraction(int(whole[segment == i].sum()), 2**45)
        assert fraction < 1


def test_what_nearly_cancels_keeps_its_digits():
    whole = jnp.asarray([1, -1, 2**30, 0])
    digits = jnp.asarray([[-32767, -32767, -3], [32767, 32767, 0], [5, 0, 0], [0, 0, 7]])
    truth = [
        w + sum(d / 2 ** (15 * k) for k, d in enumerate(row, 1))
        for w, row in zip(whole.tolist(), digits.tolist(), strict=True)
    ]
    np.testing.assert_allclose(
        _fixed_point.to_float(whole, digits, jnp.dtype("float32")), truth, 2e-7
    )
