"""The joint against closed forms, mpmath's integral and simulation."""

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from sigjax.dynamics import SigmoidJoint

# Frequency over the natural one at amplitudes 1 and 2, gain 1: from the exact period.
SLOWER = {1.0: 0.970645, 2.0: 0.900216}


def period(joint, amplitude):
    j, k, g = joint.inertia, joint.strength, joint.gain

    def integrand(psi):
        here = mpmath.cosh(g * amplitude * mpmath.cos(psi) / 2)
        fallen = mpmath.log(mpmath.cosh(mpmath.mpf(g * amplitude) / 2) / here)
        return amplitude * mpmath.sin(psi) / mpmath.sqrt(2 * k / (g * j) * fallen)

    with mpmath.workdps(50):
        return 4 * mpmath.quad(
            integrand, [mpmath.mpf(10) ** -15, 0.3, mpmath.pi / 2 - 0.2, mpmath.pi / 2]
        )


def solve(joint, start, time, steps=400):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(joint.vector_field),
        diffrax.Dopri8(),
        0.0,
        time,
        None,
        start,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0, time, steps)),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
    )


@pytest.mark.parametrize("amplitude", [1e-3, 1.0, 2.0, 20.0])
def test_period_is_mpmaths(amplitude):
    joint = SigmoidJoint(0.7, 0.0, 3.0, 1.3)
    with jax.enable_x64(True):
        np.testing.assert_allclose(joint.period(amplitude), float(period(joint, amplitude)), 1e-9)
    np.testing.assert_allclose(joint.period(amplitude), float(period(joint, amplitude)), 5e-6)


@pytest.mark.parametrize("amplitude", [0.0, 1e-38, 1e-20, 1e-5, 1e-4])
def test_small_oscillations_have_the_linear_period(amplitude):
    joint = SigmoidJoint(1.0, 0.0, 16.0)
    np.testing.assert_allclose(joint.period(amplitude), np.pi, rtol=1e-6)
    with jax.enable_x64(True):
        np.testing.assert_allclose(joint.period(amplitude**8), np.pi, rtol=1e-13)


def test_amplitude_dependence():
    joint = SigmoidJoint(1.0, 0.0, 4.0)
    with jax.enable_x64(True):
        for amplitude, ratio in SLOWER.items():
            found = 2 * np.pi / joint.period(amplitude) / joint.natural_frequency()
            np.testing.assert_allclose(found, ratio, atol=1e-6)
        small = 2 * np.pi / joint.period(0.1)
        np.testing.assert_allclose(small, 1 - 0.01 / 32, atol=2e-6)
        np.testing.assert_allclose(joint.period(20.0), 1.0012 * 8 * np.sqrt(20 / 4), rtol=5e-5)


def test_the_period_is_that_of_a_simulation():
    with jax.enable_x64(True):
        joint = SigmoidJoint(1.0, 0.0, 4.0, 2.0)
        time = float(joint.period(1.5))
        end = solve(joint, jnp.array([1.5, 0.0]), time, 2).ys[-1]
        np.testing.assert_allclose(end, [1.5, 0.0], atol=1e-7)


def test_energy_falls_by_what_damping_takes():
    with jax.enable_x64(True):
        joint = SigmoidJoint(1.0, 0.3, 4.0, 2.0)
        path = solve(joint, jnp.array([2.0, -1.0]), 20.0)
        energy = joint.energy(path.ys)
        assert (np.diff(energy) < 0).all()
        rate = jax.vmap(lambda z: jax.jvp(joint.energy, (z,), (joint.vector_field(0.0, z),))[1])(
            path.ys
        )
        np.testing.assert_allclose(rate, -0.3 * path.ys[:, 1] ** 2, atol=1e-12)


def test_linear_formulas():
    with jax.enable_x64(True):
        joint = SigmoidJoint(2.0, 0.8, 6.0, 1.5)
        matrix = jax.jacfwd(lambda z: joint.vector_field(0.0, z))(jnp.zeros(2))
        eigenvalues = np.sort_complex(np.linalg.eigvals(matrix))
        np.testing.assert_allclose(np.sort_complex(joint.stability()), eigenvalues, rtol=1e-12)
        np.testing.assert_allclose(joint.natural_frequency(), np.abs(eigenvalues[0]), rtol=1e-12)
        np.testing.assert_allclose(
            joint.damping_ratio(), -eigenvalues[0].real / np.abs(eigenvalues[0]), rtol=1e-12
        )
        small = solve(joint, jnp.array([1e-4, 0.0]), 20.0, 20_001).ys[:, 0]
        np.testing.assert_allclose(-small.min() / 1e-4, joint.overshoot(), rtol=1e-5)
        critical = SigmoidJoint(2.0, float(joint.critical_damping()), 6.0, 1.5)
        np.testing.assert_allclose(critical.damping_ratio(), 1.0)
        assert float(critical.overshoot()) == 0.0


def test_many_joints_at_once():
    gains = jnp.linspace(0.1, 5.0, 10_000, dtype=jnp.float32)
    periods = SigmoidJoint(1.0, 0.1, 4.0, gains).period(1.0)
    assert periods.shape == (10_000,)
    assert (np.diff(periods) < 0).all()
    assert SigmoidJoint(1.0, 0.1, 4.0, gains).stability().shape == (10_000, 2)
    assert SigmoidJoint(1.0, 0.1, 4.0, gains).equilibria().states.shape == (10_000, 1, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((0.0, 1.0, 1.0), "'inertia' must be positive"),
        ((1.0, -1.0, 1.0), "'damping' must be positive or 0"),
    ],
)
def test_refuses(parameters, message):
    with pytest.raises(ValueError, match=message):
        SigmoidJoint(*parameters)
