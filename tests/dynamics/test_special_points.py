"""Folds and branch points that others have computed, or that are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from sigjax.dynamics import FlipFlop, continuation


def found(points):
    """Parameters and states of the special points that there are, along the branch."""
    exists = np.asarray(points.exists)
    return np.asarray(points.parameters)[exists], np.asarray(points.states)[exists]


# AUTO-07p's tutorial, python/auto/test_data/tutorial.log: the reaction A -> B of its demo ab, where
# PAR(3) = 3. Limit points as printed: PAR(1), U(1), U(2).
REACTION = {
    17.0: [(1.21901e-1, 3.78732e-1, 1.60961), (1.17015e-1, 6.21268e-1, 2.64039)],
    18.0: [(1.11565e-1, 3.33333e-1, 1.50000), (9.95741e-2, 6.66667e-1, 3.00000)],
}


def test_folds_of_autos_tutorial():
    @jax.jit
    def reaction(heat):
        def residual(u, rate):
            made = rate * (1 - u[0]) * jnp.exp(u[1])
            return jnp.stack([made - u[0], heat * made - 4 * u[1]])

        return continuation(residual, jnp.zeros(2), 0.0, bounds=(0.0, 0.25))

    with jax.enable_x64(True):
        for heat, published in REACTION.items():
            rates, states = found(reaction(jnp.asarray(heat)).turning_points)
            np.testing.assert_allclose(
                np.column_stack([rates, states]), published, rtol=1e-5
            )  # all the digits that there are
            # In closed form: u (1 - u) = 4 / heat, rate = u / (1 - u) exp(-heat u / 4).
            u = 0.5 + np.array([-1, 1]) * np.sqrt(0.25 - 4 / heat)
            np.testing.assert_allclose(rates, u / (1 - u) * np.exp(-heat * u / 4), rtol=1e-12)


@pytest.mark.proof
def test_folds_of_bifurcationkits_tutorial():
    """BifurcationKit.jl's tutorial on CO oxidation (Bykov, Yablonskii & Kim): bisected to 8e-6."""

    def oxidation(u, q2):
        x, y, s = u
        z = 1 - x - y - s
        return jnp.stack(
            [
                5 * z**2 - 2 * x**2 - 10 * x * y,
                q2 * z - 0.1 * y - 10 * x * y,
                0.0675 * (z - 0.4 * s),
            ]
        )

    with jax.enable_x64(True):
        branch = continuation(oxidation, [0.07, 0.2, 0.05], 0.6, bounds=(0.6, 1.9))
        np.testing.assert_allclose(
            found(branch.turning_points)[0], [1.05220009, 1.04204852], atol=8e-6
        )


def test_pitchfork_of_autos_manual():
    """The Lorenz equations at rho = 1: AUTO-07p's demo lrz prints 1.00000E+00."""

    def lorenz(u, rho):
        x, y, z = u
        return jnp.stack([10 * (y - x), rho * x - y - x * z, x * y - 8 / 3 * z])

    with jax.enable_x64(True):
        trivial, *others = continuation(
            lorenz, jnp.zeros(3), 0.0, bounds=(0.0, 30.0), scale=4 * [10.0], branches=True
        )
        parameters, states, pitchfork = trivial.branch_points()
        (row,) = np.flatnonzero(trivial.crossings.exists)
        np.testing.assert_allclose(parameters[row], 1.0, rtol=1e-12)
        np.testing.assert_allclose(states[row], np.zeros(3), atol=1e-12)
        assert bool(pitchfork[row])
        assert len(others) == 2
        signs = set()
        for branch in others:
            rho = np.asarray(branch.parameters)
            root = np.sqrt(np.maximum(8 / 3 * (rho - 1), 0))
            x = np.asarray(branch.states[:, 0])
            np.testing.assert_allclose(np.abs(x), root, atol=1e-6)
            np.testing.assert_allclose(branch.states[:, 2], rho - 1, atol=1e-9)
            assert rho[-1] == 30.0
            signs.add(np.sign(x[-1]))
        assert signs == {-1.0, 1.0}


@pytest.mark.proof
def test_a_transcritical_crossing_is_no_pitchfork():
    with jax.enable_x64(True):
        branches = continuation(
            lambda x, p: x * (p - x - 1),
            [0.0],
            0.0,
            bounds=(0.0, 3.0),
            scale=[1.0, 1.0],
            branches=True,
        )
        main, *others = branches
        _, _, pitchfork = main.branch_points()
        np.testing.assert_allclose(found(main.crossings)[0], [1.0], rtol=1e-12)
        assert not bool(pitchfork.any())
        assert not bool(main.turning_points.exists.any())
        for branch in others:
            np.testing.assert_allclose(branch.states[:, 0], branch.parameters - 1, atol=1e-12)
        assert sorted(float(branch.parameters[-1]) for branch in others) == [0.0, 3.0]


@pytest.mark.proof
def test_the_other_branch_of_a_pitchfork_turns_there_without_a_fold():
    with jax.enable_x64(True):
        main, *others = continuation(
            lambda x, p: x * (p - x**2), [1.0], 1.0, bounds=(-1.0, 1.0), direction=-1, branches=True
        )
        assert not bool(main.turning_points.exists.any())
        np.testing.assert_allclose(found(main.crossings)[0], [0.0], atol=1e-12)
        assert bool(main.crossings.vertical[main.crossings.exists].all())
        assert float(main.states[-1, 0]) == pytest.approx(-1.0)  # the walk went on
        assert sorted(float(branch.parameters[-1]) for branch in others) == [-1.0, 1.0]


@pytest.mark.proof
def test_a_loop_between_two_pitchforks_is_walked_once():
    with jax.enable_x64(True):
        start = FlipFlop(6.0, np.float64(-1.0)).equilibria().states[0]
        main, *others = continuation(
            lambda x, drive: FlipFlop(6.0, drive).vector_field(0.0, x),
            start,
            -1.0,
            bounds=(-1.0, 7.0),
            branches=True,
        )
        window = FlipFlop(6.0, 3.0).window()
        np.testing.assert_allclose(found(main.crossings)[0], window, rtol=1e-9)
        (loop,) = others
        assert loop.stopped.startswith("the branch closed on itself")
        np.testing.assert_allclose(found(loop.crossings)[0], window[1:], rtol=1e-9)
        # On it lie the two stable states of FlipFlop.
        row = int(np.argmin(np.abs(np.asarray(loop.parameters) - 3.0)))
        states = FlipFlop(6.0, loop.parameters[row]).equilibria().states
        gap = np.abs(np.asarray(states - loop.states[row])).max(-1).min()
        assert gap < 1e-9


@pytest.mark.proof
def test_fold_of_fifty_variables():
    """Bratu's u'' + p e^u = 0 by finite differences; scipy finds the fold as a maximum."""
    n = 50
    laplacian = (np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1) - 2 * np.eye(n)) * 51**2

    def parameter(middle):
        """At which the solution has a value in the middle."""

        def equations(unknowns):
            u, p = unknowns[:-1], unknowns[-1]
            return np.append(laplacian @ u + p * np.exp(u), u[n // 2] - middle)

        x = np.linspace(0, 1, n + 2)[1:-1]
        start = np.append(4 * middle * x * (1 - x), 3.5)
        return scipy.optimize.fsolve(equations, start, xtol=1e-13)[-1]

    top = scipy.optimize.minimize_scalar(
        lambda middle: -parameter(middle), bounds=(1.0, 1.4), options={"xatol": 1e-7}
    )
    for x64, precision in ((True, 1e-8), (False, 1e-4)):
        with jax.enable_x64(x64):
            branch = continuation(
                lambda u, p: jnp.asarray(laplacian, u.dtype) @ u + p * jnp.exp(u),
                jnp.zeros(n),
                0.0,
                bounds=(0.0, 4.0),
                max_points=120,
            )
            np.testing.assert_allclose(found(branch.turning_points)[0], [-top.fun], rtol=precision)
    # The continuous problem's is 3.513830719, see AUTO-07p's demo exp; the error is of order h^2.
    np.testing.assert_allclose(-top.fun, 3.513830719, rtol=1e-3)
