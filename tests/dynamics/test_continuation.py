"""Continuation around curves that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.dynamics import continuation

FOLD = 2 / 27**0.5  # of x - x^3


def cubic(x, p):
    return p - x + x**3


def circle(x, p):
    return x**2 + p**2 - 1


def known(values):
    values = np.asarray(values)
    return values[~np.isnan(values)]


def test_goes_around_both_folds():
    with jax.enable_x64(True):
        branch = continuation(
            cubic, jnp.array([1.5]), -1.875, bounds=(-2.0, 2.0), step=0.02, max_points=600
        )
        x, p = known(branch.states[:, 0]), known(branch.parameters)
        np.testing.assert_allclose(p, x - x**3, atol=1e-12)
        np.testing.assert_allclose(
            np.sort(known(branch.folds()[0])), [-2 / 27**0.5, 2 / 27**0.5], atol=1e-6
        )
        # one way: x falls all along, and no step is longer than asked for
        assert (np.diff(x) < 0).all()
        assert np.hypot(np.diff(x), np.diff(p)).max() < 0.0201
        assert p[-1] == 2.0
        assert "came to a bound at parameter 2" in branch.stopped


def test_a_closed_branch_ends():
    with jax.enable_x64(True):
        branch = continuation(circle, jnp.array([1.0]), 0.0, bounds=(-2.0, 2.0))
        assert branch.stopped.startswith("the branch closed on itself")
        np.testing.assert_allclose(np.sort(known(branch.folds()[0])), [-1, 1], atol=1e-6)
        assert 120 < int(branch.count) < 130  # 2 pi / 0.05


def test_does_not_jump_to_a_neighbour():
    """Two branches 0.02 apart, with steps of 0.5 allowed."""

    def twins(x, p):
        return (x - jnp.sin(3 * p)) * (x - jnp.sin(3 * p) - 0.02)

    with jax.enable_x64(True):
        branch = continuation(
            twins,
            jnp.array([0.0]),
            0.0,
            bounds=(-1.0, 3.0),
            step=0.05,
            max_step=0.5,
            max_points=999,
        )
        x, p = known(branch.states[:, 0]), known(branch.parameters)
        assert p[-1] == 3.0
        np.testing.assert_allclose(x, np.sin(3 * p), atol=1e-9)


def test_says_that_room_was_short():
    branch = continuation(circle, jnp.array([1.0]), 0.0, bounds=(-2.0, 2.0), max_points=5)
    assert branch.stopped.startswith("all points were used")
    assert int(branch.count) == 5


def test_says_where_the_branch_ends():
    """sqrt(p) has no real continuation below 0 that is smooth."""

    def ends(x, p):
        return jnp.where(p > 0.5, x - p, jnp.nan)

    branch = continuation(ends, jnp.array([1.0]), 1.0, bounds=(0.0, 2.0), direction=-1)
    assert branch.stopped.startswith("no next point was found")
    np.testing.assert_allclose(known(branch.parameters)[-1], 0.5, atol=1e-4)


def test_says_that_the_start_is_none():
    branch = continuation(lambda x, p: x**2 + 1 + p**2, jnp.array([0.3]), 0.0, bounds=(-1.0, 1.0))
    assert "the start is not a solution" in branch.stopped
    assert int(branch.count) == 0


def test_direction():
    branch = continuation(circle, jnp.array([1.0]), 0.0, bounds=(-0.5, 2.0), direction=-1)
    np.testing.assert_allclose(known(branch.parameters)[-1], -0.5, atol=1e-6)


def test_many_branches_at_once():
    def follow(offset):
        return continuation(
            lambda x, p: p - x + x**3 + offset,
            jnp.array([1.5]),
            -1.875 - offset,
            bounds=(-3.0, 3.0),
        )

    offsets = jnp.linspace(-0.5, 0.5, 5, dtype=jnp.float32)
    branches = jax.jit(jax.vmap(follow))(offsets)
    folds = jax.vmap(lambda branch: branch.folds()[0])(branches)
    for row, offset in zip(np.asarray(folds), np.asarray(offsets), strict=True):
        np.testing.assert_allclose(np.sort(known(row)), [-FOLD - offset, FOLD - offset], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 0.0}, "step must be positive"),
        ({"bounds": (1.0, 2.0)}, "bounds must enclose"),
        ({"direction": 2}, "direction must be"),
        ({"max_points": 1}, "at least 2"),
        ({"state": jnp.zeros((1, 1))}, r"state must have shape \[variables\]"),
        ({"residual": lambda x, p: p}, "residual must return"),
    ],
)
def test_refuses(arguments, message):
    usual = {"residual": circle, "state": jnp.array([1.0]), "parameter": 0.0, "bounds": (-2.0, 2.0)}
    with pytest.raises(ValueError, match=message):
        continuation(**usual | arguments)
