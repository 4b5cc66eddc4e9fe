"""The ulp as a distance between representable numbers."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from experiments.oracle.ulps import every_16_bit_number, float32_numbers, ulp_errors

TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float32": np.float32}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_neighbours_are_whole_ulps_apart(dtype, steps):
    truth = np.array([1.0, 1.5, 3.25, 1e-3, -7e3], TYPES[dtype])
    result = truth
    for _ in range(steps):
        result = np.nextafter(result, TYPES[dtype](np.inf))
    with jax.enable_x64(True):
        errors = ulp_errors(result.astype(np.float64), truth.astype(np.float64), dtype)
    # -7e3 shrinks in size: it stays within its binade too
    np.testing.assert_array_equal(errors.ulp, np.full(5, float(steps)))
    assert not np.any(errors.wrong)


@pytest.mark.parametrize(
    ("result", "truth"),
    [
        *((0.0, 1e-30), (np.inf, 1e30), (np.nan, 1.0), (1.0, np.nan), (1.0, 1e39)),
        *((np.nan, 0.0), (1e-30, 0.0), (2e-38, 1e-39), (-np.inf, 1e39), (np.inf, -np.inf)),
    ],
)
def test_what_is_wrong_whatever_the_ulp(result, truth):
    with jax.enable_x64(True):
        assert ulp_errors(jnp.float64(result), jnp.float64(truth), "float32").wrong


@pytest.mark.parametrize(
    ("result", "truth"),
    [
        *((0.0, 1e-39), (np.inf, 1e39), (np.nan, np.nan), (np.inf, np.inf)),
        *((-0.0, 0.0), (1e-39, 0.0), (2.0**-126, 1e-38), (-np.inf, -1e39)),
    ],
)
def test_what_is_right_at_the_ends_of_the_range(result, truth):
    with jax.enable_x64(True):
        errors = ulp_errors(jnp.float64(result), jnp.float64(truth), "float32")
    assert not bool(errors.wrong)
    assert float(errors.ulp) == 0


def test_a_least_size_bounds_the_error_absolutely():
    with jax.enable_x64(True):
        errors = ulp_errors(np.float64(2.0**-40), np.float64(2.0**-60), "float32", 2.0**-7)
    assert float(errors.ulp) == pytest.approx(2.0**-40 / 2.0**-30, rel=1e-5)


def test_every_number_is_there_once():
    for dtype in ("bfloat16", "float16"):
        assert len(np.unique(every_16_bit_number(dtype).view(np.uint16))) == 2**16
    low, high = float32_numbers(0, 10, 7), float32_numbers(2**32 - 20, 10, 7)
    np.testing.assert_array_equal(low.view(np.uint32), np.arange(0, 70, 7))
    assert len(high) == 3
