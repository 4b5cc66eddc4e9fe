"""The flip-flop against closed forms, brute force and its own simulation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.test_util import check_grads

from sigjax.dynamics import FlipFlop


def activity(z):
    return 1 / (1 + np.exp(-z))


def brute_force(w, i, d, g):
    """Equilibria from sign changes on a fine grid."""
    u = np.linspace(g * (i + d - w) - 0.1, g * (i + d) + 0.1, 200_001)
    y = activity(g * (i - d - w * activity(u)))
    h = u - g * (i + d - w * y)
    return activity(u[:-1][np.sign(h[:-1]) != np.sign(h[1:])])


def test_no_equilibrium_is_missed():
    rng = np.random.default_rng(0)
    w, g = rng.uniform(0.5, 12, 100), rng.uniform(0.3, 3, 100)
    i, d = rng.uniform(-1, 10, 100), rng.normal(size=100) * 0.5
    with jax.enable_x64(True):
        found = jax.jit(lambda *p: FlipFlop(p[0], p[1], p[2], p[3]).equilibria())(w, i, d, g)
        assert 10 < int(found.exists[:, 1].sum()) < 90
        for row in range(100):
            truth = brute_force(w[row], i[row], d[row], g[row])
            states = np.asarray(found.states[row, :, 0])[np.asarray(found.exists[row])]
            np.testing.assert_allclose(states, truth, atol=1e-3)
        field = FlipFlop(w[:, None], i[:, None], d[:, None], g[:, None]).vector_field(
            0.0, found.states
        )
        assert np.nanmax(np.abs(field)) < 1e-12


@pytest.mark.parametrize(("weight", "m"), [(5.0, 0.71041), (6.0, 0.85856), (8.0, 0.95750)])
def test_order_parameter_of_the_pitchfork(weight, m):
    with jax.enable_x64(True):
        x = FlipFlop(weight, weight / 2).equilibria().states[:, 0]
        exact = scipy.optimize.brentq(lambda m: np.tanh(weight * m / 4) - m, 0.1, 1)
        np.testing.assert_allclose(2 * x[2] - 1, exact, atol=1e-12)
    assert round(exact, 5) == m


@pytest.mark.parametrize(
    ("weight", "window", "fold"),
    [(6.0, (-0.0490, 6.0490), 0.4151), (8.0, (-0.5912, 8.5912), 1.0657)],
)
def test_window_and_folds(weight, window, fold):
    m = np.sqrt(1 - 4 / weight)
    with jax.enable_x64(True):
        low, high = FlipFlop(weight, weight / 2).folds()
        np.testing.assert_allclose(high, 2 * m / m * abs(np.arctanh(m) - weight * m / 4), atol=1e-6)
        assert float(low) == -float(high)
        np.testing.assert_allclose(FlipFlop(weight, 0.0).window(), window, atol=5e-5)
    np.testing.assert_allclose(high, fold, atol=5e-5)


def test_pitchfork_at_four_with_exponent_one_half():
    with jax.enable_x64(True):
        assert not bool(FlipFlop(3.9999, 3.9999 / 2).equilibria().exists[1])
        near = np.array([1e-4, 1e-5])
        x = FlipFlop(4 + near, 2 + near / 2).equilibria().states[:, 2, 0]
        exponent = np.diff(np.log(2 * np.asarray(x) - 1)) / np.diff(np.log(near))
    np.testing.assert_allclose(exponent, 0.5, atol=1e-4)


def test_folds_bound_bistability_for_ten_thousand_switches():
    rng = np.random.default_rng(1)
    weight, drive, gain = rng.uniform(3, 12, 10_000), rng.uniform(-1, 12, 10_000), 0.8
    with jax.enable_x64(True):

        @jax.jit
        def around(weight, drive):
            d = FlipFlop(weight, drive, gain=gain).folds()[1]
            three = [
                FlipFlop(weight, drive, d * s, gain).equilibria().exists[:, 1]
                for s in (1 - 1e-6, 1 + 1e-6)
            ]
            return d, *three

        d, inside, outside = around(weight, drive)
        folded = ~np.isnan(d) & (np.asarray(d) > 1e-3)
    assert folded.sum() > 1000
    assert np.asarray(inside)[folded].all()
    assert not np.asarray(outside)[folded].any()


def test_eigenvalues_are_the_closed_form():
    with jax.enable_x64(True):
        switch = FlipFlop(7.0, 3.2, 0.1, 1.1)
        states = switch.equilibria().states
        x, y = states[:, 0], states[:, 1]
        root = 1.1 * 7 * np.sqrt(x * (1 - x) * y * (1 - y))
        eigenvalues = switch.stability(states)
        np.testing.assert_allclose(eigenvalues, np.stack([root - 1, -root - 1], -1), atol=1e-12)
        np.testing.assert_array_equal(eigenvalues.real.max(-1) < 0, switch.equilibria().stable)


def test_nullclines_meet_at_equilibria():
    with jax.enable_x64(True):
        switch = FlipFlop(6.0, 2.8, 0.1)
        states = switch.equilibria().states
        for curve in switch.nullclines(states[:, 0]):
            np.testing.assert_allclose(curve, states[:, 1], atol=1e-12)


def test_a_simulation_ends_in_the_nearer_stable_state():
    with jax.enable_x64(True):
        switch = FlipFlop(6.0, 3.0)
        end = diffrax.diffeqsolve(
            diffrax.ODETerm(switch.vector_field),
            diffrax.Tsit5(),
            0.0,
            60.0,
            0.1,
            jnp.array([0.6, 0.5]),
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9),
        )
        np.testing.assert_allclose(end.ys[0], switch.equilibria().states[2], atol=1e-6)


def test_derivatives_of_equilibria_and_folds():
    with jax.enable_x64(True):

        def numbers(w, i):
            switch = FlipFlop(w, i)
            return switch.equilibria().states[:, 0], switch.folds()[1]

        check_grads(numbers, (6.3, 3.4), order=1, rtol=1e-4)


def test_float32_is_near():
    single = FlipFlop(6.0, 3.0)
    np.testing.assert_allclose(single.folds()[1], 0.4150929, atol=2e-6)
    assert single.equilibria().states.dtype == jnp.float32


@pytest.mark.parametrize("arguments", [{"weight": -1.0}, {"weight": 1.0, "gain": 0.0}])
def test_refuses(arguments):
    with pytest.raises(ValueError, match="must be positive"):
        FlipFlop(drive=0.0, **arguments)


def test_gradients_and_masks_are_models_too():
    switch = FlipFlop(6.0, 3.0)
    slopes = jax.grad(lambda s: s.equilibria().states[0, 0])(switch)
    assert isinstance(slopes, FlipFlop)
    assert float(slopes.weight) < 0  # a sign that no weight may have
    assert jax.tree.map(lambda leaf: False, switch).gain is False


def test_fewer_equilibria_are_no_error_to_jax():
    """NaN stands for what does not exist; `jax_debug_nans` must not take it for a mistake."""
    with jax.debug_nans(True):
        for jit in (False, True):
            with jax.disable_jit(not jit):
                three, one = FlipFlop(6.0, 3.0).equilibria(), FlipFlop(3.0, 3.0).equilibria()
                folds, none = FlipFlop(6.0, 3.0).folds(), FlipFlop(3.0, 3.0).folds()
            assert np.isfinite(np.asarray(three.states)).all()
            missing = np.isnan(np.asarray(one.states))[:, 0]
            np.testing.assert_array_equal(missing, [False, True, True])
            np.testing.assert_allclose(folds[1], 0.4150929, atol=2e-6)
            assert np.isnan(np.asarray(none)).all()


def test_parameters_of_foreign_byte_order():
    weight = np.array([5.0, 6.0], np.float32)
    found = FlipFlop(weight.astype(">f4"), 3.0).window()
    np.testing.assert_array_equal(found, FlipFlop(weight, 3.0).window())
