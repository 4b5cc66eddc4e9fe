"""Bounds that no 16-bit or 32-bit number holds, that are subnormal, or known only at run time."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax

NAMES = ("bounded_sigmoid", "bounded_logit", "bounded_sigmoid_log_det")
CASES = [
    # a width that overflows
    ("bounded_sigmoid", (0.0, -3e38, 3e38), 0.0),
    ("bounded_logit", (0.0, -3e38, 3e38), 0.0),
    ("bounded_sigmoid_log_det", (0.0, -3e38, 3e38), math.log(6e38) - 2 * math.log(2)),
    # bounds that float32 rounds to one number
    ("bounded_sigmoid", (0.0, 150000000.0, 150000001.0), 150000000.0),
    ("bounded_sigmoid_log_det", (0.0, 150000000.0, 150000001.0), -2 * math.log(2)),
    ("bounded_sigmoid_log_det", (0.0, 150000000, 150000001), -2 * math.log(2)),
    ("bounded_sigmoid_log_det", (0.0, 2**40, 2**40 + 1), -2 * math.log(2)),
    ("bounded_logit", (150000000.0, 149999999.0, 150000007.0), -math.log(7)),
    # bounds and widths below the smallest normal number
    ("bounded_logit", (1e-40, 0.0, 3e-40), -math.log(2)),
    ("bounded_logit", (1e-40, 0.0, 1.0), math.log(1e-40)),
    ("bounded_logit", (1.2e-38, 1.19e-38, 1.22e-38), -math.log(2)),
    ("bounded_sigmoid_log_det", (0.0, 0.0, 1e-40), math.log(1e-40) - 2 * math.log(2)),
    # numbers that float16 does not hold, beside one of it
    ("bounded_sigmoid", (np.float16(0), -3e5, 3e5), 0.0),
    ("bounded_sigmoid", (np.float16(1), 0.0, 8e4), 8e4 / (1 + math.exp(-1))),
    ("bounded_logit", (np.float16(6e4), -3e5, 3e5), math.log(36 / 24)),
    ("bounded_sigmoid_log_det", (np.float16(0), -3e5, 3e5), math.log(1.5e5)),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_python_numbers_are_not_rounded_before_they_meet(name, arguments, expected):
    found = getattr(sigjax, name)(*arguments)
    eps = float(jnp.finfo(found.dtype).eps)
    # float32 holds subnormal numbers, and differences of the smallest normal ones, in 17 bits
    subnormal = any(0 < abs(x) < 1e-37 for x in arguments)
    np.testing.assert_allclose(float(found), expected, rtol=3e-5 if subnormal else eps, atol=0)
    inside = jax.jit(lambda: getattr(sigjax, name)(*arguments))()
    np.testing.assert_allclose(float(inside), float(found), rtol=eps)


def test_the_slope_of_a_width_that_float32_rounds_away():
    slope = jax.grad(sigjax.bounded_sigmoid)(0.0, 150000000.0, 150000001.0)
    assert slope == 0.25


def test_float64_bounds_of_numpy_keep_what_float32_drops():
    low, high = np.array([150000000.0, 0.0]), np.array([150000001.0, 1.0])
    found = sigjax.bounded_sigmoid_log_det(jnp.zeros(2), low, high)
    np.testing.assert_allclose(found, -2 * math.log(2), rtol=1e-6)


WRONG = [(1.0, 1.0), (2, 1), (0.0, math.inf), (math.nan, 1.0), (-math.inf, 0)]


@pytest.mark.parametrize("name", NAMES)
def test_known_bounds_are_refused_inside_a_transformation_too(name):
    function = getattr(sigjax, name)
    for low, high in [*WRONG, (10**400, 10**401)]:
        for ends in [(low, high), *([] if high > 1e99 else [(np.array([low]), np.array([high]))])]:
            for call in (lambda x: function(x, *ends), jax.jit(lambda x: function(x, *ends))):  # noqa: B023
                for _ in range(2):  # the second time as the first
                    with pytest.raises(ValueError, match=f"sigjax.{name}: arguments 'low' and 'h"):
                        call(0.5)


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_that_of_its_documentation(name):
    assert list(inspect.signature(getattr(sigjax, name)).parameters)[1:] == ["low", "high"]


@pytest.mark.parametrize("name", NAMES)
def test_nan_checks_see_nothing_on_healthy_inputs(name):
    with jax.debug_nans(True):
        assert jnp.isfinite(getattr(sigjax, name)(0.2, 0.0, 1.0))
        assert jnp.isfinite(jax.grad(getattr(sigjax, name))(0.2, 0.0, 1.0))
