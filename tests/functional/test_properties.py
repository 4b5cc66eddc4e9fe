"""Identities that hold for every argument, searched by hypothesis."""

import functools

import chex
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import sigjax

FLOATS = st.floats(-200, 200, width=32, allow_subnormal=False)
BATCH = arrays.arrays(np.float32, 64, elements=FLOATS)


@given(BATCH)
def test_the_sigmoid_and_its_mirror_image_add_up_to_1(x):
    total = np.asarray(sigjax.sigmoid(x), np.float64) + np.asarray(sigjax.sigmoid(-x), np.float64)
    assert np.all(np.abs(total - 1) <= 2.0**-23)


@given(BATCH)
def test_the_first_derivative_is_exactly_even(x):
    chex.assert_trees_all_equal(sigjax.sigmoid_derivative(x), sigjax.sigmoid_derivative(-x))


@given(BATCH)
def test_the_second_derivative_is_exactly_odd(x):
    here, there = sigjax.sigmoid_derivative(x, 2), sigjax.sigmoid_derivative(-x, 2)
    chex.assert_trees_all_equal(here, -there)


@given(BATCH)
def test_inverses(x):
    x = np.clip(x, -15, 15)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(sigjax.logit(sigjax.sigmoid(-np.abs(x))), -np.abs(x))
    close(sigjax.softplus_inverse(sigjax.softplus(x)), x)
    close(sigjax.logitexp(sigjax.log_sigmoid(-np.abs(x))), -np.abs(x))
    close(sigjax.logit1mexp(sigjax.log1m_sigmoid(np.abs(x))), np.abs(x))
    low = np.clip(x, -15, 1)
    close(sigjax.cloglog(sigjax.cloglog_inverse(low)), low)


@given(BATCH, FLOATS, FLOATS)
def test_a_bounded_sigmoid_stays_within_its_bounds(x, low, high):
    if low >= high:
        low, high = high, low
    if low == high:
        return
    result = np.asarray(sigjax.bounded_sigmoid(x, np.float32(low), np.float32(high)))
    assert np.all((result >= np.float32(low)) & (result <= np.float32(high)))


@given(st.floats(1e-9, 50), st.sampled_from([-1, 1]))
def test_the_linear_form_is_as_near_as_its_bound_says(size, sign):
    x = sign * size
    with mp.workdps(60):
        error = abs(1 / (1 + mp.exp(-mp.mpf(x))) - (2 + mp.mpf(x)) / 4)
        with jax.enable_x64(True):
            bound = float(sigjax.sigmoid_linear_error(np.float64(x)))
        assert error <= bound * (1 + 1e-15)


def test_the_sigmoid_is_monotone_over_all_16_bit_numbers():
    for dtype in (jnp.float16, jnp.bfloat16):
        x = jnp.arange(2**16, dtype=jnp.uint16).view(dtype)
        x = jnp.sort(x[~jnp.isnan(x)])
        values = np.asarray(sigjax.sigmoid(x), np.float64)
        assert np.all(np.diff(values) >= 0)


def test_the_sigmoid_is_monotone_where_its_parts_change():
    """Runs of 4,096 neighbours around every change of exponent in the argument or e^-x."""
    centres = np.concatenate([np.arange(-120, 121) * np.log(2) / 2, 2.0 ** np.arange(-20, 7)])
    bits = centres.astype(np.float32).view(np.int32)[:, None] + np.arange(-2048, 2048)
    values = np.asarray(sigjax.sigmoid(bits.astype(np.int32).view(np.float32)))
    rising = np.where(centres < 0, -1, 1)[:, None] * np.diff(values, axis=1)
    assert rising[centres != 0].min() >= 0
