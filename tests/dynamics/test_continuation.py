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


def points(branch):
    """Parameters and first components of the points that there are."""
    count = int(branch.count)
    return np.asarray(branch.parameters[:count]), np.asarray(branch.states[:count, 0])


def parabola(x, p):
    return p - x**2


def follower(*curves, **options):
    """Continuation of one of a few curves, with start and bounds as arguments: one program."""

    @jax.jit
    def follow(which, start, parameter, low, high):
        return continuation(
            lambda x, p: jnp.stack([curve(x, p) for curve in curves])[which],
            start[None],
            parameter,
            bounds=(low, high),
            **options,
        )

    return lambda curve, *values: follow(curves.index(curve), *map(jnp.asarray, values))


@pytest.fixture(scope="module")
def forwards():
    return follower(cubic, circle, scale=[1.0, 1.0])


@pytest.fixture(scope="module")
def backwards():
    return follower(parabola, circle, direction=-1)


def test_goes_around_both_folds(forwards):
    with jax.enable_x64(True):
        branch = forwards(cubic, 1.5, -1.875, -2.0, 2.0)
        p, x = points(branch)
        np.testing.assert_allclose(p, x - x**3, atol=1e-12)
        np.testing.assert_allclose(
            np.sort(known(branch.folds()[0])), [-2 / 27**0.5, 2 / 27**0.5], rtol=1e-12
        )
        # one way: x falls all along, and no step is longer than asked for
        assert (np.diff(x) < 0).all()
        assert np.hypot(np.diff(x), np.diff(p)).max() < 1.005 * 0.05
        assert p[-1] == 2.0
        assert "came to a bound at parameter 2" in branch.stopped
        # rows from count on repeat the last point
        np.testing.assert_array_equal(branch.states[int(branch.count) :], x[-1])


def test_a_closed_branch_ends(forwards):
    with jax.enable_x64(True):
        branch = forwards(circle, 1.0, 0.0, -2.0, 2.0)
        assert branch.stopped.startswith("the branch closed on itself")
        np.testing.assert_allclose(np.sort(known(branch.folds()[0])), [-1, 1], rtol=1e-12)
        assert 120 < int(branch.count) < 130  # 2 pi / 0.05
        np.testing.assert_allclose(branch.lengths[-1], 2 * np.pi, rtol=1e-6)
        np.testing.assert_allclose(branch.states[-1], [1.0], atol=1e-15)


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
        p, x = points(branch)
        assert p[-1] == 3.0
        np.testing.assert_allclose(x, np.sin(3 * p), atol=1e-9)


def test_says_that_room_was_short():
    branch = continuation(circle, jnp.array([1.0]), 0.0, bounds=(-2.0, 2.0), max_points=5)
    assert branch.stopped.startswith("all points were used")
    assert int(branch.count) == 5


def test_says_why_it_ended_or_did_not_start():
    """One program; each row another residual."""

    def residual(x, p, case):
        ends = jnp.where(p > 0.5, x - p, jnp.nan)
        kink = x - 3 * jnp.abs(p - 0.5)
        rootless = x**2 + 1 + p**2
        crossing = (x - 1) * (p - x)
        return jnp.stack([ends, kink, rootless, crossing])[case]

    @jax.jit
    @jax.vmap
    def follow(start, case):
        return continuation(
            lambda x, p: residual(x, p, case),
            start[None],
            1.0,
            bounds=(0.0, 2.0),
            direction=-1,
            scale=[1.0, 1.0],
        )

    branches = follow(jnp.array([1.0, 1.5, 0.3, 1.0, jnp.nan]), jnp.array([0, 1, 2, 3, 1]))
    ends, kink, rootless, crossing, nowhere = (
        jax.tree.map(lambda x, i=i: x[i], branches) for i in range(5)
    )
    for branch in (ends, kink):
        assert branch.stopped.startswith("the branch was lost")
        np.testing.assert_allclose(branch.parameters[-1], 0.5, atol=1e-4)
    assert "the last residual is nan times its tolerance" in ends.stopped
    assert float(kink.excess) <= 1  # there is a root, but none that goes on as the branch did
    assert rootless.stopped.startswith("the start is not a solution")
    assert float(rootless.excess) > 1
    assert nowhere.stopped.startswith("the start is not a solution")
    assert crossing.stopped.startswith("the start is where branches cross")
    assert int(rootless.count) == int(crossing.count) == int(nowhere.count) == 0
    with pytest.raises(ValueError, match="index the batch"):
        _ = branches.stopped


@pytest.mark.proof
def test_a_figure_of_eight_closes_with_its_first_tangent_only():
    """Bernoulli's lemniscate passes 0 twice; its folds are at +-sqrt(2)."""

    def lemniscate(x, p):
        return (x**2 + p**2) ** 2 - 2 * (p**2 - x**2)

    with jax.enable_x64(True):
        point = np.sqrt(2 * np.cos(0.4)) * np.array([np.sin(0.2), np.cos(0.2)])
        branch = continuation(
            lemniscate, point[:1], point[1], bounds=(-2.0, 2.0), scale=[1.0, 1.0], branches=True
        )
        assert len(branch) == 1  # the other branch at its crossing is itself
        (branch,) = branch
        assert branch.stopped.startswith("the branch closed on itself")
        np.testing.assert_allclose(np.sort(known(branch.folds()[0])), [-(2**0.5), 2**0.5])
        np.testing.assert_allclose(known(branch.branch_points()[0]), [0, 0], atol=1e-12)
        # 2.62205... is the lemniscate constant, half its length at unit focal radius.
        np.testing.assert_allclose(branch.lengths[-1], 2 * 2**0.5 * 2.622057554292119, rtol=1e-6)


def test_starts_on_a_fold(backwards):
    with jax.enable_x64(True):
        branch = backwards(parabola, 0.0, 0.0, -1.0, 1.0)
        p, x = points(branch)
        np.testing.assert_allclose(p, x**2, atol=1e-13)
        assert (np.diff(x) < 0).all()
        np.testing.assert_array_equal(known(branch.folds()[0]), [0.0])
        assert p[-1] == 1.0


def test_ends_at_a_bound_that_a_fold_only_just_passes(backwards):
    with jax.enable_x64(True):
        branch = backwards(parabola, 1.0, 1.0, 1e-4, 2.0)
        p, x = points(branch)
        assert p[-1] == 1e-4
        np.testing.assert_allclose(x[-1], 1e-2, rtol=1e-9)
        assert not bool(branch.turning_points.exists.any())


def test_direction(backwards):
    with jax.enable_x64(True):
        branch = backwards(circle, 1.0, 0.0, -0.5, 2.0)
        np.testing.assert_array_equal(branch.parameters[-1], -0.5)


# Curves p(x) with a pair of folds, and half the distance of these in x, over d: a cubic with folds
# at -d and d, which are 4 d^3 / 3 apart in p; and a straight line with a wrinkle, narrower than its
# pair is wide, with folds where cosh^2 (x / d) = 2.
PAIRS = {
    lambda x, d: x**3 / 3 - d**2 * x: 1.0,
    lambda x, d: x - 2 * d * jnp.tanh(x / d): np.arccosh(2**0.5),
}


@pytest.mark.proof
def test_no_pair_of_folds_is_lost():
    """Pairs a tenth of a step apart and more, wherever in a step they lie."""
    shares = np.repeat([0.1, 0.2, 0.5, 1.0], 16)
    starts = -1 + 0.1 * np.random.default_rng(0).uniform(size=shares.size)
    with jax.enable_x64(True):

        @jax.jit
        @jax.vmap
        def follow(start, half, which):
            half_of = jnp.array(list(PAIRS.values()))

            def curve(x):
                return jnp.stack([curve(x, half / half_of[which]) for curve in PAIRS])[which]

            return continuation(
                lambda x, p: p - curve(x),
                start[None],
                curve(start),
                bounds=(-2.0, 2.0),
                scale=[1.0, 1.0],
                step=0.1,
                max_points=200,
            )

        half = np.tile(shares * 0.1 / 2, len(PAIRS))
        which = np.repeat(np.arange(len(PAIRS)), shares.size)
        branches = follow(np.tile(starts, len(PAIRS)), half, which)
        np.testing.assert_array_equal(branches.turning_points.exists.sum(axis=1), 2)
        states = np.sort(np.asarray(branches.turning_points.states[..., 0]), axis=1)
    np.testing.assert_allclose(states[:, [0, -1]], np.outer(half, [-1, 1]), rtol=1e-6)


def test_every_point_is_within_its_tolerance():
    """The tolerance is per equation: 64 roundings of the unknowns, through their slopes."""

    def residual(x, p):
        return jnp.stack([1e6 * (p - x[0] + x[0] ** 3), 1e-6 * (x[1] - jnp.exp(x[0]))])

    start = jnp.array([1.5, np.exp(1.5)], jnp.float32)
    branch = continuation(residual, start, -1.875, bounds=(-2.0, 2.0))
    values = jax.vmap(residual)(branch.states, branch.parameters)
    assert (np.abs(values) <= branch.tolerances).all()
    x, scale = branch.states[:, 0].astype(float), np.asarray(branch.scales)
    slopes = 1e6 * np.stack([np.abs(3 * x**2 - 1), 0 * x, 0 * x + 1], axis=1)
    np.testing.assert_allclose(
        branch.tolerances[:, 0], 64 * 2.0**-23 * (slopes * scale).sum(axis=1), rtol=1e-5
    )


@pytest.mark.proof
def test_not_a_number_is_no_error_where_there_is_none():
    with jax.debug_nans(True), jax.debug_infs(True):
        branch = continuation(cubic, [1.5], -1.875, bounds=(-2.0, 2.0))
        np.testing.assert_allclose(np.sort(known(branch.folds()[0])), [-FOLD, FOLD], rtol=1e-6)
        assert known(branch.branch_points()[0]).size == 0
        with jax.disable_jit():
            branch = continuation(cubic, [0.6], 0.6 - 0.6**3, bounds=(-2.0, 2.0), max_points=3)
        np.testing.assert_allclose(known(branch.folds()[0]), FOLD, rtol=1e-6)


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
    with pytest.raises(ValueError, match="'branches' must be False under jit"):
        jax.jit(lambda p: continuation(cubic, [1.5], p, bounds=(-2.0, 2.0), branches=True))(-1.875)
    for row, offset in zip(np.asarray(folds), np.asarray(offsets), strict=True):
        np.testing.assert_allclose(np.sort(known(row)), [-FOLD - offset, FOLD - offset], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 0.0}, "'step' must be positive"),
        ({"bounds": (1.0, 2.0)}, "'bounds' must enclose"),
        ({"direction": 2}, "'direction' must be"),
        ({"max_points": 1}, "at least 2"),
        ({"state": jnp.zeros((1, 1))}, r"'state' must have shape \[variables\]"),
        ({"residual": lambda x, p: p}, "'residual' must return"),
        ({"parameter": jnp.zeros(1)}, "'parameter' must be a scalar"),
        ({"scale": 1.0}, r"'scale' must have shape \[variables \+ 1\]"),
        ({"scale": [1.0, 0.0]}, "'scale' must be positive"),
        # Nothing says how large a state of 0 that does not move may become.
        ({"residual": lambda x, p: p * x - x**3, "state": [0.0], "parameter": -1.0}, "give scale"),
    ],
)
def test_refuses(arguments, message):
    usual = {"residual": circle, "state": jnp.array([1.0]), "parameter": 0.0, "bounds": (-2.0, 2.0)}
    with pytest.raises(ValueError, match=message):
        continuation(**usual | arguments)


@pytest.mark.slice
def test_a_complex_state_is_refused_and_a_short_one_widened():
    with pytest.raises(TypeError, match="'state' must be real"):
        continuation(cubic, np.array([1.5j]), -1.875, bounds=(-2.0, 2.0))
    start = jnp.ones(1, jnp.bfloat16)
    states = jax.eval_shape(lambda: continuation(cubic, start, 0.0, bounds=(-2.0, 2.0)).states)
    assert states.dtype == jnp.float32
