"""The same folds in anyone's units: state, parameter and residual times 1e-6 to 1e6, each alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.dynamics import FlipFlop, SleepWake, continuation

POWERS = 10.0 ** np.arange(-6, 7)
FACTORS = np.concatenate([np.where(np.arange(3) == i, POWERS[:, None], 1) for i in range(3)])
FOLD = 2 / 27**0.5  # of x - x^3
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0]
SWITCH = SleepWake()


def cubic(x, p):
    return p - x + x**3


def cubic_twice(x, p):
    """The second component is far from 0 and narrow."""
    first, second = x[0], (x[1] - 300) / 5
    return jnp.stack([cubic(first, p), second - first])


def flip_flop(x, d):
    return FlipFlop(6.0, 3.0, d).vector_field(0.0, x)


def sleep_switch(x, drive):
    sleep, wake = x
    return jnp.stack(
        [
            SWITCH.nu_vm * SWITCH.firing_rate(wake) + drive - sleep,
            SWITCH.a + SWITCH.nu_mv * SWITCH.firing_rate(sleep) - wake,
        ]
    )


def symmetric(x, drive):
    return FlipFlop(6.0, drive).vector_field(0.0, x)


def gradient(x, p):
    """Of a potential in rotated coordinates, of which the first alone has folds."""
    rotation = jnp.asarray(ROTATION, x.dtype)
    y = rotation.T @ x
    stiffness = jnp.arange(1, 10, dtype=x.dtype)
    rest = p / stiffness - stiffness * y[1:] - y[1:] ** 3
    return rotation @ jnp.concatenate([p - y[:1] + y[:1] ** 3, rest])


def gradient_start(p):
    """The first coordinate is 1.5; Cardano's formula gives the others."""
    k = np.arange(1, 10)
    half = p / k / 2
    root = np.sqrt(half**2 + k**3 / 27)
    rest = np.cbrt(half + root) + np.cbrt(half - root)
    return ROTATION @ np.append(1.5, rest)


# Those of one size share a program.
VARIABLES = (cubic,), (flip_flop, sleep_switch, symmetric, cubic_twice), (gradient,)


@pytest.fixture(scope="module")
def systems():
    """Start, parameter with its bounds, folds and pitchforks in the order of the branch."""
    wide = (-1.875, -2.0, 2.0)
    with jax.enable_x64(True):
        known = {
            cubic: ([1.5], wide, [FOLD, -FOLD], []),
            cubic_twice: ([1.5, 307.5], wide, [FOLD, -FOLD], []),
            gradient: (gradient_start(-1.875), wide, [FOLD, -FOLD], []),
            flip_flop: (
                FlipFlop(6.0, 3.0, -1.0).equilibria().states[0],
                (-1.0, -1.0, 1.0),
                FlipFlop(6.0, 3.0).folds()[::-1],
                [],
            ),
            sleep_switch: (
                SWITCH.equilibria(1.0).states[0],
                (1.0, 1.0, 3.0),
                SWITCH.folds()[::-1],
                [],
            ),
            symmetric: (
                FlipFlop(6.0, -1.0).equilibria().states[0],
                (-1.0, -1.0, 7.0),
                [],
                FlipFlop(6.0, 3.0).window(),
            ),
        }
        return {
            residual: [np.asarray(x, np.float64) for x in values]
            for residual, values in known.items()
        }


@functools.cache
def in_units(residuals, dtype):
    """Continuation of one of a few residuals, with units and bounds as arguments: one program."""

    @jax.jit
    def follow(which, start, parameters, state, parameter, size):
        def residual(x, p):
            every = [residual(x / state, p / parameter) for residual in residuals]
            return size * jnp.stack(every)[which]

        first, low, high = parameters * parameter
        return continuation(residual, start * state, first, bounds=(low, high))

    def with_defaults(which, start, parameters, state=1.0, parameter=1.0, size=1.0):
        state = np.broadcast_to(state, np.shape(start))
        values = (start, parameters, state, parameter, size)
        return follow(which, *(np.asarray(x, dtype) for x in values))

    return with_defaults


def passed(points, parameter=1.0):
    """Parameters of the special points along a branch, in their own units."""
    return np.asarray(points.parameters)[np.asarray(points.exists)] / parameter


@pytest.mark.proof
@pytest.mark.sampled(6)
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("residuals", VARIABLES, ids=["1", "2", "10 variables"])
def test_units_do_not_matter(systems, residuals, x64):
    precision = 1e-8 if x64 else 1e-4
    with jax.enable_x64(x64):
        follow = in_units(residuals, jnp.result_type(float))
        for which, residual in enumerate(residuals):
            start, parameters, folds, pitchforks = systems[residual]
            for state, parameter, size in FACTORS:
                branch = follow(which, start, parameters, state, parameter, size)
                assert branch.reason == 1  # a bound
                found = passed(branch.turning_points, parameter)
                np.testing.assert_allclose(found, folds, rtol=precision)
                found = passed(branch.crossings, parameter)
                np.testing.assert_allclose(found, pitchforks, rtol=precision)
                vertical, exists = map(
                    np.asarray, (branch.crossings.vertical, branch.crossings.exists)
                )
                assert vertical[exists].all()


def test_each_component_has_its_own_units(systems):
    """Two components 12 orders of magnitude apart, one of them far from 0 and narrow."""
    start, parameters, folds, _ = systems[cubic_twice]
    with jax.enable_x64(True):
        follow = in_units(VARIABLES[1], jnp.result_type(float))
        branch = follow(VARIABLES[1].index(cubic_twice), start, parameters, [1e-6, 1e6])
    np.testing.assert_allclose(passed(branch.turning_points), folds, rtol=1e-8)


@pytest.mark.slice
def test_bounds_may_be_wide_or_infinite(systems):
    start, (first, *_), folds, _ = systems[cubic]
    for far in (1e6, np.inf):
        branch = in_units((cubic,), jnp.dtype("float32"))(0, start, (first, -far, far))
        np.testing.assert_allclose(passed(branch.turning_points), folds, rtol=1e-4)
