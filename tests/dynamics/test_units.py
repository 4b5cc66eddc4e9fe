"""The same folds in anyone's units: state, parameter and residual times 1e-6 to 1e6, each alone."""

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


def gradient(x, p):
    """Of a potential in rotated coordinates, of which the first alone has folds."""
    rotation = jnp.asarray(ROTATION, x.dtype)
    y = rotation.T @ x
    stiffness = jnp.arange(1, 10, dtype=x.dtype)
    rest = p / stiffness - stiffness * y[1:] - y[1:] ** 3
    return rotation @ jnp.concatenate([p - y[:1] + y[:1] ** 3, rest])


def symmetric(x, drive):
    return FlipFlop(6.0, drive).vector_field(0.0, x)


def gradient_start(p):
    """The first coordinate is 1.5; Cardano's formula gives the others."""
    k = np.arange(1, 10)
    half = p / k / 2
    root = np.sqrt(half**2 + k**3 / 27)
    rest = np.cbrt(half + root) + np.cbrt(half - root)
    return ROTATION @ np.append(1.5, rest)


def system(name):
    """Residual, start, bounds of the parameter, and closed forms of folds and pitchforks."""
    if name == "cubic":
        return cubic, [1.5], (-1.875, -2.0, 2.0), [-FOLD, FOLD], []
    if name == "gradient":
        return gradient, gradient_start(-1.875), (-1.875, -2.0, 2.0), [-FOLD, FOLD], []
    with jax.enable_x64(True):
        if name == "flip_flop":
            start = FlipFlop(6.0, 3.0, -1.0).equilibria().states[0]
            known = flip_flop, start, (-1.0, -1.0, 1.0), FlipFlop(6.0, 3.0).folds(), []
        elif name == "sleep_switch":
            start = SWITCH.equilibria(1.0).states[0]
            known = sleep_switch, start, (1.0, 1.0, 3.0), SWITCH.folds(), []
        else:
            start = FlipFlop(6.0, -1.0).equilibria().states[0]
            known = symmetric, start, (-1.0, -1.0, 7.0), [], FlipFlop(6.0, 3.0).window()
        return jax.tree.map(lambda x: x if callable(x) else np.asarray(x), known)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["cubic", "flip_flop", "sleep_switch", "gradient", "pitchfork"])
def test_units_do_not_matter(name, x64):
    residual, start, parameters, folds, pitchforks = system(name)
    with jax.enable_x64(x64):
        dtype = jnp.result_type(float)

        @jax.jit
        @jax.vmap
        def follow(factors):
            state, parameter, size = factors
            first, low, high = jnp.asarray(parameters, dtype) * parameter
            return continuation(
                lambda x, p: size * residual(x / state, p / parameter),
                jnp.asarray(start, dtype) * state,
                first,
                bounds=(low, high),
            )

        branches = follow(jnp.asarray(FACTORS, dtype))
    precision = 1e-8 if x64 else 1e-4
    assert (np.asarray(branches.reason) == 1).all()  # a bound
    for found, known in (
        (branches.turning_points, folds),
        (branches.crossings, pitchforks),
    ):
        exists = np.asarray(found.exists)
        np.testing.assert_array_equal(exists.sum(axis=1), len(known))
        if len(known):
            values = np.asarray(found.parameters)[exists].reshape(len(FACTORS), -1)
            values = np.sort(values / FACTORS[:, 1:2], axis=1)
            np.testing.assert_allclose(
                values, np.broadcast_to(np.sort(known), values.shape), rtol=precision
            )
    assert np.asarray(branches.crossings.vertical)[np.asarray(branches.crossings.exists)].all()


def test_each_component_has_its_own_units():
    """Two components 12 orders of magnitude apart, one of them far from 0 and narrow."""
    with jax.enable_x64(True):

        def residual(x, p):
            first, second = x[0] * 1e6, (x[1] / 1e6 - 300) / 5
            return jnp.stack([p - first + first**3, second - first])

        branch = continuation(residual, jnp.array([1.5e-6, 307.5e6]), -1.875, bounds=(-2.0, 2.0))
        found = np.asarray(branch.turning_points.parameters)[branch.turning_points.exists]
    np.testing.assert_allclose(np.sort(found), [-FOLD, FOLD], rtol=1e-8)


def test_bounds_may_be_wide_or_infinite():
    for far in (1e6, np.inf):
        branch = continuation(cubic, [1.5], -1.875, bounds=(-far, far))
        found = np.asarray(branch.turning_points.parameters)[branch.turning_points.exists]
        np.testing.assert_allclose(np.sort(found), [-FOLD, FOLD], rtol=1e-4)
