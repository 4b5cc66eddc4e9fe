"""The package under JAX's own switches."""

import contextlib

import jax
import numpy as np
import pytest

from sigjax.calibration import (
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    reliability_curve,
)


@contextlib.contextmanager
def step_by_step():
    """Without compilation every intermediate result is looked at."""
    with jax.disable_jit(), jax.debug_nans(True):
        yield


SWITCHES = {
    "debug_nans": lambda: jax.debug_nans(True),
    "debug_infs": lambda: jax.debug_infs(True),
    "disable_jit": step_by_step,
    "x64": lambda: jax.enable_x64(True),
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "leaks": jax.checking_leaks,
}


# Forecasts that leave most bins empty.
P = np.array([0.05, 0.9, 0.95, 0.9], np.float32)
PAIR = np.stack([1 - P, P], axis=1)
LABELS, WEIGHTS = np.array([0, 1, 0, 1]), np.array([1, 2, 0, 1], np.float32)

CALLS = (
    lambda: expected_calibration_error(P, LABELS),
    lambda: reliability_curve(P, LABELS, bins=2),
    lambda: fit_platt(P, LABELS, weights=WEIGHTS),
    lambda: fit_temperature(4 * P - 2, LABELS),
    # Not step by step, which takes a second for each of these.
    lambda: expected_calibration_error(PAIR, LABELS, weights=WEIGHTS, classwise=True),
    lambda: expected_calibration_error(PAIR, LABELS, weights=WEIGHTS, binning="mass"),
    lambda: jax.grad(expected_calibration_error)(P, LABELS),
    lambda: fit_platt(P, P > 0.5, smooth=False),
    lambda: fit_temperature(PAIR, LABELS, weights=WEIGHTS)(PAIR),
)
_STEP_BY_STEP = 4


@pytest.fixture(scope="module")
def plain():
    return [call() for call in CALLS]


@pytest.mark.parametrize("switch", SWITCHES)
def test_same_numbers(switch, plain):
    calls = CALLS[:_STEP_BY_STEP] if switch == "disable_jit" else CALLS
    with SWITCHES[switch]():
        found = [call() for call in calls]
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=False):
        np.testing.assert_allclose(one, other, rtol=3e-6, atol=1e-6)
