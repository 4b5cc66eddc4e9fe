"""The sleep-wake switch against its literature's numbers, brute force, and a day's simulation."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from sigjax.dynamics import SleepWake


def test_bistable_range_of_2008():
    with jax.enable_x64(True):
        low, high = SleepWake().folds()
        np.testing.assert_allclose((low, high), (1.4503, 2.4635), atol=5e-5)
        # Independent: stationary points of the drive along the branch, by scipy.
        model = SleepWake()

        def drive(v):
            wake = model.a + model.nu_mv * 100 / (1 + np.exp(-(v - 10) / 3))
            return v - model.nu_vm * 100 / (1 + np.exp(-(wake - 10) / 3))

        top = scipy.optimize.minimize_scalar(
            lambda v: -drive(v), bounds=(-8, -2), options={"xatol": 1e-12}
        )
        bottom = scipy.optimize.minimize_scalar(drive, bounds=(-2, 2), options={"xatol": 1e-12})
        np.testing.assert_allclose((low, high), (bottom.fun, -top.fun), atol=1e-6)


def test_equilibria_stand_still_and_are_stable_as_said():
    with jax.enable_x64(True):
        model = SleepWake()
        drives = jnp.linspace(0.5, 3.5, 61)
        found = model.equilibria(drives)
        low, high = model.folds()
        np.testing.assert_array_equal(found.exists[:, 1], (drives > low) & (drives < high))
        sleep, wake = found.states[..., 0], found.states[..., 1]
        residual = model.nu_vm * model.firing_rate(wake) + drives[:, None] - sleep
        assert np.nanmax(np.abs(residual)) < 1e-10
        decays = model.stability(found.states).real.max(-1) < 0
        np.testing.assert_array_equal(decays & found.exists, found.stable)
        assert bool(model.awake(found.states[0, 0]))
        assert not bool(model.awake(found.states[30, 2]))


def test_folds_of_ten_thousand_switches():
    strength = jnp.asarray(-np.random.default_rng(0).uniform(0.2, 4.0, 10_000), jnp.float32)
    low, high = jax.jit(lambda nu: SleepWake(nu_vm=nu).folds())(strength)
    there = ~np.isnan(low)
    assert 1000 < there.sum() < 9999
    assert (np.asarray(low)[there] <= np.asarray(high)[there]).all()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("x64", "solver", "tolerance"),
    [(True, diffrax.Kvaerno5(), 1e-7), (False, diffrax.Tsit5(), 1e-4)],
    ids=["float64", "float32"],
)
def test_a_day_of_2008(x64, solver, tolerance):
    """15.44 h awake and 8.56 h asleep, H from 12.515 to 15.071."""
    with jax.enable_x64(x64):
        model = SleepWake()
        days = diffrax.diffeqsolve(
            diffrax.ODETerm(model.vector_field),
            solver,
            0.0,
            24.0 * 12,
            0.001,
            jnp.array([-10.0, 1.0, 13.0]),
            saveat=diffrax.SaveAt(ts=jnp.linspace(24 * 11, 24 * 12, 2881)),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=100_000,
        )
        somnogen = np.asarray(days.ys[:, 2])
        awake = np.asarray(model.awake(days.ys))
    np.testing.assert_allclose(24 * awake[:-1].mean(), 15.44, atol=0.05)
    assert np.abs(np.diff(awake.astype(int))).sum() == 2
    np.testing.assert_allclose((somnogen.min(), somnogen.max()), (12.515, 15.071), atol=2e-3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"tau": 0.0}, "'tau' must be positive"), ({"nu_vm": 1.0}, "negative")],
)
def test_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        SleepWake(**parameters)
