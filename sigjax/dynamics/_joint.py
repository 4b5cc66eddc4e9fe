"""A joint pulled back by a sigmoid: a proportional controller that saturates."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from sigjax.functional import log_cosh, sigmoid, softplus

from ._equilibria import Equilibria, eigenvalues
from ._parameters import broadcast, model, of_one_rank, require_numbers, require_sign

# Midpoints of the quarter period. With n of them the error is e^(-4 n s), s = pi / (g A) being the
# distance of the nearest singularity: below rounding in float64 for g A up to 500.
_NODES = 2048


@model
@dataclasses.dataclass(frozen=True)
class SigmoidJoint:
    r"""$J \ddot\theta + b \dot\theta + K (\sigma(g \theta) - \frac12) = 0$.

    Near 0 the sigmoid is $\frac12 + \frac{z}{4}$, and the joint a linear oscillator of stiffness
    $K g / 4$; far from 0 the torque is at most $K / 2$, and the oscillation slows down.

    A frozen dataclass and pytree: parameters may be arrays, which broadcast in every method.

    Attributes:
      inertia: $J > 0$ in kg m^2.
      damping: $b \ge 0$ in N m s.
      strength: $K > 0$ in N m, twice the largest torque.
      gain: $g > 0$ in 1/rad.

    Raises:
      ValueError: if inertia, strength or gain is not positive, or damping is negative.

    Example:
      >>> joint = SigmoidJoint(inertia=1.0, damping=0.4, strength=16.0)
      >>> print(joint.natural_frequency(), joint.damping_ratio())
      2.0 0.1

    References:
      Derived here; the linear formulas are those of any textbook's second-order system.
    """

    inertia: Any
    damping: Any
    strength: Any
    gain: Any = 1.0

    def __post_init__(self) -> None:
        require_numbers(self)
        require_sign(self, "inertia", "strength", "gain")
        require_sign(self, "damping", or_zero=True)

    def vector_field(self, t: Any, state: Array, args: Any = None) -> Array:
        """Rates of change in diffrax's form.

        Args:
          t: time in s; nothing depends on it.
          state: `[..., 2]`, angle in rad and angular velocity in rad/s.
          args: None, or an external torque in N m.

        Returns:
          `[..., 2]`.
        """
        state = jnp.asarray(state)
        angle, velocity = state[..., 0], state[..., 1]
        torque = -self.strength * (sigmoid(self.gain * angle) - 0.5) - self.damping * velocity
        torque = torque if args is None else torque + args
        return jnp.stack(jnp.broadcast_arrays(velocity, torque / self.inertia), axis=-1)

    def natural_frequency(self) -> Array:
        r"""$\omega_n = \sqrt{K g / 4 J}$ in rad/s: of small undamped oscillations."""
        inertia, strength, gain = broadcast(self.inertia, self.strength, self.gain)
        return jnp.sqrt(strength * gain / (4 * inertia))

    def damping_ratio(self) -> Array:
        r"""$\zeta = b / \sqrt{J K g}$; 1 is critical."""
        damping, critical = broadcast(self.damping, self.critical_damping())
        return damping / critical

    def critical_damping(self) -> Array:
        r"""$b = \sqrt{J K g}$ in N m s: the least without overshoot."""
        inertia, strength, gain = broadcast(self.inertia, self.strength, self.gain)
        return jnp.sqrt(inertia * strength * gain)

    def overshoot(self) -> Array:
        r"""$e^{-\pi \zeta / \sqrt{1 - \zeta^2}}$ of a small step; 0 from critical damping on."""
        zeta = self.damping_ratio()
        under = zeta < 1
        root = jnp.sqrt(jnp.where(under, 1 - zeta**2, 1))
        return jnp.where(under, jnp.exp(-jnp.pi * zeta / root), 0)

    def energy(self, state: Array) -> Array:
        r"""$\frac12 J \dot\theta^2 + \frac{K}{g} \log\cosh\frac{g \theta}{2}$ in J.

        Its rate is $-b \dot\theta^2$: with damping every motion ends at rest at 0.
        """
        state = jnp.asarray(state)
        angle, velocity = state[..., 0], state[..., 1]
        kinetic = self.inertia * velocity**2 / 2
        return kinetic + self.strength / self.gain * log_cosh(self.gain * angle / 2)

    def equilibria(self) -> Equilibria:
        """The one at rest at 0; stable unless there is no damping."""
        (damping, *_) = broadcast(self.damping, self.inertia, self.strength, self.gain)
        states = jnp.zeros((*damping.shape, 1, 2), damping.dtype)
        stable = (damping > 0)[..., None]
        return Equilibria(states, jnp.ones_like(stable), stable)

    def stability(self) -> Array:
        r"""Eigenvalues `[..., 2]`, complex, in 1/s: $\omega_n (-\zeta \pm \sqrt{\zeta^2 - 1})$."""
        omega, zeta = broadcast(self.natural_frequency(), self.damping_ratio())
        zero = jnp.zeros_like(omega)
        rows = [jnp.stack([zero, zero + 1], -1), jnp.stack([-(omega**2), -2 * zeta * omega], -1)]
        return eigenvalues(jnp.stack(rows, axis=-2))

    def period(self, amplitude: Any) -> Array:
        r"""Period in s of the undamped oscillation of an amplitude in rad.

        From conservation of energy, $T = 4 \int_0^A \mathrm{d}\theta / \dot\theta$, with
        $\theta = A \cos\psi$ and the midpoint rule, which converges exponentially. For small A it
        is $\frac{2\pi}{\omega_n} (1 + \frac{(gA)^2}{32} + \dots)$, for large ones that of a torque
        that only changes its sign, $8 \sqrt{A J / K}$.

        Args:
          amplitude: A >= 0, at 0 the limit; broadcasts with the parameters. Exact to rounding up
            to $g A = 500$ in float64.
        """
        amplitude, inertia, strength, gain = broadcast(
            amplitude, self.inertia, self.strength, self.gain
        )
        psi = (jnp.arange(_NODES, dtype=amplitude.dtype) + 0.5) * (jnp.pi / 2 / _NODES)
        # Below sqrt(eps) the period is the linear one to rounding, and its parts would underflow.
        linear = jnp.finfo(amplitude.dtype).eps ** 0.5
        far, psi = of_one_rank(jnp.maximum(gain * amplitude / 2, linear)[..., None], psi)
        # log cosh(far) - log cosh(here) without cancellation:
        # cosh(far) / cosh(here) - 1 = 2 sinh(sum) sinh(difference) / cosh(here)
        here = far * jnp.cos(psi)
        half_sum, half_difference = far * jnp.cos(psi / 2) ** 2, far * jnp.sin(psi / 2) ** 2
        log_ratio = (
            2 * half_difference
            + jnp.log(-jnp.expm1(-2 * half_sum))
            + jnp.log(-jnp.expm1(-2 * half_difference))
            - jnp.log1p(jnp.exp(-2 * here))
        )
        fallen = softplus(log_ratio)
        mean = jnp.mean(far * jnp.sin(psi) / jnp.sqrt(fallen), axis=-1)
        return 4 * jnp.pi * jnp.sqrt(inertia / (2 * strength * gain)) * mean
