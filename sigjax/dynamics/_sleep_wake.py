"""The sleep-wake switch: two brain-stem populations, a debt that builds up, and a clock."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from sigjax.functional import sigmoid

from . import _mutual_inhibition as pair
from ._absent import nan_unless
from ._equilibria import Equilibria, eigenvalues
from ._parameters import broadcast, model, require_numbers, require_sign

_SECONDS = 3600.0  # of an hour


@model
@dataclasses.dataclass(frozen=True)
class SleepWake:
    r"""Phillips and Robinson's model of the ascending arousal system.

    $$\tau \dot V_v = \nu_{vm} Q_m + D - V_v, \quad \tau \dot V_m = A + \nu_{mv} Q_v - V_m, \quad
      \chi \dot H = \mu Q_m - H$$

    with firing rates $Q = Q_{max}\, \sigma((V - \theta)/\sigma')$, drive
    $D = \nu_{vc} C + \nu_{vh} H$ and clock $C = c_0 + \cos(2 \pi t / 24\,\mathrm{h})$. V_v is the
    sleep-promoting population (VLPO), V_m the wake-promoting (monoaminergic) one, H the somnogen.
    Awake, H rises until the drive passes the upper fold of the fast pair (V_v, V_m): it falls to
    the other branch, asleep, until H has come down to the lower fold.

    A frozen dataclass and pytree: parameters may be arrays, which broadcast in every method. The
    defaults are those of 2008.

    Attributes:
      nu_vm: inhibition of V_v by the wake population, in mV s, negative.
      nu_mv: inhibition of V_m by the sleep population, in mV s, negative.
      nu_vc: clock to V_v, in mV.
      nu_vh: somnogen to V_v, in mV/nM.
      a: input to V_m, in mV.
      mu: somnogen made a firing, in nM s.
      chi: time constant of the somnogen, in h.
      c0: mean of the clock's signal.
      tau: time constant of the populations, in s.
      q_max: largest firing rate, in 1/s.
      theta: threshold, in mV.
      sigma: width of the threshold, in mV.

    Raises:
      ValueError: if a time constant, rate or width is not positive, or an inhibition not negative.

    Example:
      >>> low, high = SleepWake().folds()
      >>> print(f"bistable for a drive between {low:.3f} and {high:.3f} mV")
      bistable for a drive between 1.450 and 2.463 mV

    References:
      Phillips & Robinson 2007, J. Biol. Rhythms 22:167-179; 2008, J. Theor. Biol. 255:413-423.
    """

    nu_vm: Any = -2.1
    nu_mv: Any = -1.8
    nu_vc: Any = -2.9
    nu_vh: Any = 1.0
    a: Any = 1.3
    mu: Any = 4.4
    chi: Any = 45.0
    c0: Any = 4.5
    tau: Any = 10.0
    q_max: Any = 100.0
    theta: Any = 10.0
    sigma: Any = 3.0

    def __post_init__(self) -> None:
        require_numbers(self)
        require_sign(self, "chi", "tau", "q_max", "sigma")
        require_sign(self, "nu_vm", "nu_mv", negative=True)

    def firing_rate(self, potential: Array) -> Array:
        """Q in 1/s of a potential in mV."""
        return self.q_max * sigmoid((potential - self.theta) / self.sigma)

    def drive(self, t: Any, somnogen: Array) -> Array:
        """D in mV at a time in h and a somnogen level in nM."""
        clock = self.c0 + jnp.cos(2 * jnp.pi * t / 24)
        return self.nu_vc * clock + self.nu_vh * somnogen

    def vector_field(self, t: Any, state: Array, args: Any = None) -> Array:
        """Rates of change per hour, in diffrax's form.

        Stiff: in float64 an implicit solver, as `diffrax.Kvaerno5` with tolerances of 1e-7, takes
        the fewest steps. In float32 its equations cannot be solved to less than rounding, and its
        steps are refused without end: there an explicit one, `diffrax.Tsit5` with tolerances of
        1e-4, gives the same days, in about 190 steps an hour of the model's time.

        Args:
          t: time in h; the clock's signal is highest at 0.
          state: `[..., 3]`: V_v and V_m in mV, H in nM.
          args: None, or an external input to V_v in mV.

        Returns:
          `[..., 3]`, in mV/h and nM/h.
        """
        state = jnp.asarray(state)
        sleep, wake, somnogen = state[..., 0], state[..., 1], state[..., 2]
        drive = self.drive(t, somnogen)
        drive = drive if args is None else drive + args
        speed = _SECONDS / self.tau
        rates = (
            speed * (self.nu_vm * self.firing_rate(wake) + drive - sleep),
            speed * (self.a + self.nu_mv * self.firing_rate(sleep) - wake),
            (self.mu * self.firing_rate(wake) - somnogen) / self.chi,
        )
        return jnp.stack(jnp.broadcast_arrays(*rates), axis=-1)

    def awake(self, state: Array) -> Array:
        """Whether the wake population has the higher potential, `[...]` of `[..., 3]` or 2."""
        return state[..., 1] > state[..., 0]

    def _scaled(self) -> tuple[Array, Array, Array]:
        """q, alpha, beta of the mutual inhibition of the fast pair."""
        a, theta, sigma, q_max, vm, mv = broadcast(
            self.a, self.theta, self.sigma, self.q_max, self.nu_vm, self.nu_mv
        )
        return (a - theta) / sigma, -vm * q_max / sigma, -mv * q_max / sigma

    def equilibria(self, drive: Any) -> Equilibria:
        """All equilibria of the fast pair at a constant drive in mV: awake first, asleep last.

        Returns:
          An `Equilibria` of states `[..., 3, 2]`, V_v and V_m in mV. Differentiable.
        """
        drive, theta, sigma, *rest = broadcast(drive, self.theta, self.sigma, *self._scaled())
        found = pair.roots((drive - theta) / sigma, *rest)
        potentials = jnp.stack([found.u, found.v], axis=-1) * sigma[..., None, None]
        potentials = potentials + theta[..., None, None]
        return Equilibria(nan_unless(found.exists, potentials), found.exists, found.stable)

    def stability(self, state: Array) -> Array:
        """Eigenvalues `[..., 2]`, complex, in 1/s of the fast pair at V_v and V_m `[..., 2]`."""
        tau, vm, mv = broadcast(self.tau, self.nu_vm, self.nu_mv)
        slope = jax.jvp(self.firing_rate, (state,), (jnp.ones_like(state),))[1]
        tau, by_wake, by_sleep = jnp.broadcast_arrays(tau, vm * slope[..., 1], mv * slope[..., 0])
        one = jnp.ones_like(tau)
        rows = [jnp.stack([-one, by_wake], axis=-1), jnp.stack([by_sleep, -one], axis=-1)]
        return eigenvalues(jnp.stack(rows, axis=-2) / tau[..., None, None])

    def folds(self) -> tuple[Array, Array]:
        """The drives in mV between which waking and sleep are both stable.

        Returns:
          Lower drive, where sleep ends, and upper drive, where waking ends; NaN where there is no
          hysteresis.
        """
        theta, sigma, *scaled = broadcast(self.theta, self.sigma, *self._scaled())
        low, high, exists = pair.folds_along_p(*scaled)
        low, high = theta + sigma * low, theta + sigma * high
        return nan_unless(exists, low), nan_unless(exists, high)
