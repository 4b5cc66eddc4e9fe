"""Sums of squares in three accumulators, against longer floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.probe._sums import log10_norm, log10_norm_traced, run_squares, squares, totals

SHAPES = [(), (1,), (7,), (257,), (4, 3), (1021,), (3, 521), (2, 3, 5, 7), (1024, 2)]


def expected(x):
    """log10 of the 2-norm; sums of squares of float64 need the wider exponent."""
    wide = np.asarray(x, np.longdouble)
    return float(np.log10(np.sqrt(np.sum(wide * wide))))


def drawn(shape, seed):
    """Magnitudes from 0.5 to 1 with both signs."""
    numbers = np.random.default_rng(seed)
    return numbers.uniform(0.5, 1, shape) * numbers.choice([-1.0, 1.0], shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_of_every_size_and_magnitude_in_float32(shape):
    measured = jax.jit(jax.vmap(squares))
    scales = 10.0 ** np.array([-37, -30, -20, -10, -3, 0, 5, 15, 19, 25, 38])
    x = np.stack([drawn(shape, i) * scale for i, scale in enumerate(scales)]).astype(np.float32)
    found = log10_norm(np.asarray(measured(x)))
    np.testing.assert_allclose(found, [expected(row) for row in x], atol=1e-6)
    traced = jax.jit(log10_norm_traced)(measured(x))
    np.testing.assert_allclose(traced, found, rtol=1e-6, atol=1e-6)


def test_of_narrow_and_wide_floats():
    cases = {"bfloat16": (-37, -20, 0, 20, 38), "float16": (-7, -5, -2, 0, 4)}
    for dtype, powers in cases.items():
        x = np.stack([drawn((31, 11), abs(p)) * 10.0**p for p in powers])
        x = jnp.asarray(x, jnp.float32).astype(dtype)
        found = log10_norm(np.asarray(jax.vmap(squares)(x)))
        np.testing.assert_allclose(found, [expected(np.float64(row)) for row in x], atol=1e-6)
    with jax.enable_x64(True):
        x = np.stack([drawn((31, 11), 9) * 10.0**p for p in (-300, -200, -100, 0, 100, 200, 300)])
        sums = jax.vmap(squares)(x)
        assert sums.dtype == jnp.float64
        np.testing.assert_allclose(
            log10_norm(np.asarray(sums)), [expected(row) for row in x], rtol=1e-14, atol=1e-14
        )


def test_of_mixed_magnitudes_and_of_parts():
    """Whatever lies beside it, a number that matters counts; parts add up to the whole."""
    columns = 10.0 ** np.array([-37, 30, -12, 0, -25, 18, -37, 2], np.float64)
    large = drawn((96, 8), 0) * columns
    cases = [
        large,
        large[:, [0, 4, 6]],  # all small
        large[:, ::-1].T,
        np.where(np.arange(96)[:, None] % 5 == 0, large, 0),
        np.sort(np.abs(large), None),
    ]
    for case in cases:
        x = case.astype(np.float32)
        whole = np.asarray(squares(jnp.asarray(x)))
        np.testing.assert_allclose(log10_norm(whole), expected(x), atol=1e-6)
        half = len(x) // 2
        parts = sum(np.asarray(squares(jnp.asarray(part))) for part in (x[:half], x[half:]))
        np.testing.assert_allclose(log10_norm(parts), expected(x), atol=1e-6)


def test_of_many_numbers_one_after_another():
    """Float32 additions one after another would be off by more."""
    x = np.full((2**20 + 7,), 0.1, np.float32)
    np.testing.assert_allclose(
        log10_norm(np.asarray(squares(jnp.asarray(x)))), expected(x), atol=1e-6
    )


def test_of_zeros_and_of_nothing():
    for shape in [(), (5,), (3, 0), (0,), (4, 257)]:
        assert log10_norm(np.asarray(squares(jnp.zeros(shape)))) == -np.inf


def test_one_number_that_is_not_finite_is_seen_and_finite_ones_never():
    """At every place, beside small and large numbers; the largest finite numbers are finite."""
    for size in (1, 37, 523):
        quiet = np.stack([drawn((size,), 3) * scale for scale in (0.0, 1e-30, 1.0, 3e38)])
        quiet = quiet.astype(np.float32)
        assert np.isfinite(jax.vmap(squares)(quiet)).all()
        for bad in (np.nan, np.inf, -np.inf):
            for place in {0, size // 2, size - 1}:
                spoilt = quiet.copy()
                spoilt[:, place] = bad
                found = np.asarray(jax.vmap(squares)(spoilt))
                assert not np.isfinite(found).all(-1).any()
                logs = log10_norm(found)
                assert not np.isfinite(logs).any()
    limits = jnp.full((300, 5), jnp.finfo(jnp.float32).max)
    np.testing.assert_allclose(log10_norm(np.asarray(squares(limits))), expected(limits), atol=1e-6)


def test_constants_inside_a_program():
    """XLA folds constants and moves factors across products, and may not change the sums."""
    scales = [1e-37, 1e-20, 1.0, 1e20, 1e38]

    @jax.jit
    def run(x):
        ones = jnp.ones((33, 7))
        return jnp.stack(
            [squares(ones * scale) for scale in scales]
            + [squares(x * scale) for scale in scales]
            + [squares(jnp.broadcast_to(x[:1, :1] * scale, (33, 7))) for scale in scales]
        )

    found = log10_norm(np.asarray(run(jnp.ones((33, 7)))))
    wanted = [expected(np.full((33, 7), np.float32(scale))) for scale in scales]
    np.testing.assert_allclose(found, wanted * 3, atol=1e-6)


def test_runs_of_several_arrays_make_a_total_each():
    x = [drawn((6, 4), i).astype(np.float32) * np.float32(10.0 ** (-15 * i)) for i in range(3)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *map(run_squares, map(jnp.asarray, x)))
    found = log10_norm(np.asarray(totals(stacked)))
    np.testing.assert_allclose(found, [expected(one) for one in x], atol=1e-6)
