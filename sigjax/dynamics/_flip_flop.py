"""Two populations that inhibit each other: the smallest switch with a memory."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from sigjax.functional import logit, sigmoid

from . import _mutual_inhibition as pair
from ._absent import nan_unless
from ._equilibria import Equilibria, eigenvalues
from ._parameters import broadcast, model, of_one_rank, require_numbers, require_sign


@model
@dataclasses.dataclass(frozen=True)
class FlipFlop:
    r"""$\dot x = -x + \sigma(g(I + d - w y))$, $\dot y = -y + \sigma(g(I - d - w x))$.

    Bistability is possible if and only if $w g > 4$: the slope of a sigmoid is at most $1/4$. At
    $d = 0$ the symmetric state loses its stability in a pitchfork where
    $w g\, s(1 - s) = 1$, which is supercritical since the logistic's Schwarzian derivative is
    negative. Without symmetry the pitchfork becomes a pair of folds, and switching has hysteresis.

    A frozen dataclass and pytree: parameters may be arrays, which broadcast in every method.

    Attributes:
      weight: $w > 0$, of the inhibition.
      drive: $I$, common to both populations.
      difference: $d$, opposed drive, in favour of x.
      gain: $g > 0$.

    Raises:
      ValueError: if weight or gain is not positive.

    Example:
      >>> off, _, on = FlipFlop(weight=6.0, drive=3.0).equilibria().states[:, 0]
      >>> print(f"rests at {off:.4f} or {on:.4f}")
      rests at 0.0707 or 0.9293

    References:
      Saper, Chou & Scammell 2001, Trends in Neurosciences 24:726-731, name the sleep switch a
      flip-flop; the analysis here is derived (see the methods).
    """

    weight: Any
    drive: Any
    difference: Any = 0.0
    gain: Any = 1.0

    def __post_init__(self) -> None:
        require_numbers(self)
        require_sign(self, "weight", "gain")

    def vector_field(self, t: Any, state: Array, args: Any = None) -> Array:
        """Rates of change in diffrax's form.

        Args:
          t: time, in units of the populations' time constant; nothing depends on it.
          state: `[..., 2]`, x and y.
          args: None, or what is added to the inputs of x and y, broadcast against `state`.

        Returns:
          `[..., 2]`.
        """
        drive = jnp.stack(
            broadcast(self.drive + self.difference, self.drive - self.difference), axis=-1
        )
        drive = drive if args is None else jnp.add(*of_one_rank(drive, args))
        weight, gain = (x[..., None] for x in broadcast(self.weight, self.gain))
        weight, gain, drive, state = of_one_rank(weight, gain, drive, state)
        return sigmoid(gain * (drive - weight * state[..., ::-1])) - state

    def _scaled(self) -> tuple[Array, Array, Array, Array]:
        """p, q, alpha, beta of the mutual inhibition."""
        w, drive, difference, g = broadcast(self.weight, self.drive, self.difference, self.gain)
        return g * (drive + difference), g * (drive - difference), g * w, g * w

    def equilibria(self) -> Equilibria:
        """All equilibria: one, or two stable ones with a saddle between; certain, not searched.

        Returns:
          An `Equilibria` of states `[..., 3, 2]`. Differentiable by the parameters.
        """
        found = pair.roots(*self._scaled())
        states = jnp.stack([sigmoid(found.u), sigmoid(found.v)], axis=-1)
        return Equilibria(nan_unless(found.exists, states), found.exists, found.stable)

    def stability(self, state: Array) -> Array:
        r"""Eigenvalues `[..., 2]`, complex, of the linearised flow, per unit of time.

        At an equilibrium they are $-1 \pm g w \sqrt{x(1-x)\, y(1-y)}$.
        """
        field = jnp.vectorize(
            lambda w, i, d, g, z: jax.jacfwd(lambda z: FlipFlop(w, i, d, g).vector_field(0.0, z))(
                z
            ),
            signature="(),(),(),(),(n)->(n,n)",
        )
        return eigenvalues(
            field(*broadcast(self.weight, self.drive, self.difference, self.gain), state)
        )

    def nullclines(self, activity: Array) -> tuple[Array, Array]:
        r"""The curves on which one population stands still, as functions of x in (0, 1).

        Returns:
          y where $\dot x = 0$, which is $(I + d - \mathrm{logit}(x)/g)/w$, and y where
          $\dot y = 0$.
        """
        activity = jnp.asarray(activity)
        first = (self.drive + self.difference - logit(activity) / self.gain) / self.weight
        second = sigmoid(self.gain * (self.drive - self.difference - self.weight * activity))
        return first, second

    def window(self) -> tuple[Array, Array]:
        r"""The drives I between which the symmetric state is unstable (d = 0): the pitchforks.

        $I_\pm = w s_\pm + \mathrm{logit}(s_\pm)/g$ with
        $s_\pm = \frac12 (1 \pm \sqrt{1 - 4/(wg)})$.

        Returns:
          Lower and upper drive; NaN where $w g < 4$.
        """
        weight, gain = broadcast(self.weight, self.gain)
        unstable = weight * gain >= 4
        root = jnp.sqrt(jnp.where(unstable, 1 - 4 / (weight * gain), 0))
        low = (1 - root) / 2
        bound = weight * low - 2 * jnp.arctanh(root) / gain  # logit(low) = -2 artanh(root)
        return nan_unless(unstable, bound), nan_unless(unstable, weight - bound)

    def folds(self) -> tuple[Array, Array]:
        r"""The opposed drives d between which there are two stable states, at this drive I.

        Folds in the plane of the two inputs form a closed curve, of which the drive picks one point
        on either side. At $I = w/2$:
        $|d| = |2 \operatorname{artanh} m - g w m/2|/g$ with $m = \sqrt{1 - 4/(gw)}$.

        Returns:
          Lower and upper d, opposite; NaN where there is no fold: $w g < 4$, or I outside the
          `window`.
        """
        weight, drive, gain = broadcast(self.weight, self.drive, self.gain)
        half = pair.folds_along_difference(2 * gain * drive, gain * weight)
        low, high = FlipFlop(weight, drive, gain=gain).window()
        inside = (drive >= low) & (drive <= high)
        d = half / gain
        return nan_unless(inside, -d), nan_unless(inside, d)
