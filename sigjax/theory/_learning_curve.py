"""A learning curve that is a logistic curve by theorem."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..functional._arguments import check_numbers, check_shapes
from ..functional._undefined import nan_unless
from ._double import elementwise_in_double

# Times are cut here, so that infinite ones have a product with a rate of 0: beyond float32's
# largest number, and far from the root of float64's.
_FOREVER = 1e100
# The least decay that is computed with, which float64 still holds: a mode that begins at s would
# otherwise be 0 / 0 long before the start, where e^-a underflows.
_LEAST = 1e-300
# To here the series below are right to 1e-17 with 15 terms; beyond, the closed forms lose at most
# a digit.
_NEAR = 0.5
_TERMS = 15


def saxe_curve(
    time: ArrayLike,
    singular_value: ArrayLike,
    initial: ArrayLike,
    time_constant: ArrayLike = 1.0,
) -> Array:
    r"""The strength $u(t)$ of one mode of a linear network with one hidden layer.

    Gradient flow from balanced weights obeys $\tau \dot u = 2 u (s - u)$, whose solution

    $$u(t) = \frac{s\, e^{2st/\tau}}{e^{2st/\tau} - 1 + s/u_0}
           = s\, \sigma\Big(\frac{2st}{\tau} - \log\Big(\frac{s}{u_0} - 1\Big)\Big)$$

    is a sigmoid of time: a plateau, a fast rise around $t_{1/2}$, saturation at $s$.

    Args:
      time: $t$, in the units of `time_constant`.
      singular_value: $s$, of the input-output correlation; 0 and negative values decay.
      initial: $u_0 > 0$; the arguments broadcast.
      time_constant: $\tau$, the inverse of learning rate times examples.

    Returns:
      $u(t)$, exact to rounding also for $u_0 \ge s$ and infinite times; NaN before the time at
      which a mode that starts above $s$ would have been infinite. Computed in float64 and given in
      the default floating dtype, and its derivatives too.

    Example:
      >>> print(f"{saxe_curve(10.0, 1.0, 1e-6):.4f}")
      0.9979

    References:
      Saxe, McClelland & Ganguli 2014, ICLR (arXiv:1312.6120), equations 7 and 8.
    """
    given: dict[str, ArrayLike] = {"time": time, "singular_value": singular_value}
    given |= {"initial": initial, "time_constant": time_constant}
    given = check_numbers(**given)
    check_shapes("sigjax.theory.saxe_curve", **given)
    return _saxe_curve(None, *given.values())


@elementwise_in_double
def _saxe_curve(_: None, time: Array, s: Array, initial: Array, tau: Array) -> Array:
    return _curve(time, s, initial, tau)


class _Parts(NamedTuple):
    r"""What the curve and its derivatives are made of, with $x = 2st/\tau$ and $a = |x|$.

    Attributes:
      falls: whether x is negative. There everything is multiplied by $e^x$.
      a: $a$.
      decay: $e^{-a}$.
      gained: $(1 - e^{-a})/|s|$, of the sign of $t/\tau$; with s divided out it holds for s = 0.
      whole: $e^{-a} + u_0 (1 - e^{-a})/s$, NaN where that is not positive.
    """

    falls: Array
    a: Array
    decay: Array
    gained: Array
    whole: Array


def _parts(time: Array, s: Array, initial: Array, tau: Array) -> _Parts:
    slow = _slow(time, tau)
    x = s * slow
    falls = x < 0
    a = jnp.where(falls, -x, x)
    decay = jnp.exp(-a)
    gained = slow * _mean_decay(a)
    # A sum of positive terms wherever the curve rises to s or decays to 0.
    whole = jnp.maximum(decay, _LEAST) + gained * jnp.where(falls, initial - s, initial)
    return _Parts(falls, a, decay, gained, nan_unless(whole > 0, whole))


def _slow(time: Array, tau: Array) -> Array:
    return 2 * jnp.clip(time, -_FOREVER, _FOREVER) / tau


@jax.custom_jvp
def _curve(time: Array, s: Array, initial: Array, tau: Array) -> Array:
    parts = _parts(time, s, initial, tau)
    # Nothing has decayed where nothing is to be gained: the mode begins at s.
    decay = jnp.maximum(parts.decay, _LEAST)
    return initial / parts.whole * jnp.where(parts.falls, decay, 1)


@_curve.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    """In closed form: sums of what the formula is made of cancel once the curve is flat."""
    time, s, initial, tau = primals
    parts = _parts(*primals)
    unit = 1 / parts.whole
    by_initial = parts.decay * unit * unit
    by_time = 2 / tau * (initial * unit) * ((s - initial) * unit) * parts.decay
    share = parts.gained * (initial * unit)
    mean, first = _mean_decay(parts.a), _first_moment(parts.a)
    curved = jnp.where(parts.falls, (mean - first) * parts.decay, first) / jnp.square(mean)
    by_s = jnp.square(share) * curved + initial * by_initial * _slow(time, tau)
    by_tau = -jnp.clip(time, -_FOREVER, _FOREVER) / tau * by_time
    slopes = by_time, by_s, by_initial, by_tau
    products = (slope * tangent for slope, tangent in zip(slopes, tangents, strict=True))
    return _curve(*primals), functools.reduce(jnp.add, products)


def _mean_decay(a: Array) -> Array:
    r"""$\int_0^1 e^{-av} dv = (1 - e^{-a})/a$ for $a \ge 0$."""
    return _near_and_far(a, 1, lambda a: -jnp.expm1(-a) / a)


def _first_moment(a: Array) -> Array:
    r"""$\int_0^1 v e^{-av} dv = (1 - (1 + a) e^{-a})/a^2$ for $a \ge 0$."""
    return _near_and_far(a, 2, lambda a: (1 - (1 + a) * jnp.exp(-a)) / a / a)


def _near_and_far(a: Array, power: int, closed: Callable[[Array], Array]) -> Array:
    r"""$\sum_k (-a)^k / (k!\,(k + power))$ near 0, elsewhere in closed form."""
    is_near = a < _NEAR
    near, far = jnp.where(is_near, a, 0), jnp.where(is_near, 1, a)
    coefficients = [(-1) ** k / (math.factorial(k) * (k + power)) for k in range(_TERMS)]
    return jnp.where(is_near, jnp.polyval(jnp.array(coefficients[::-1]), near), closed(far))


def saxe_half_time(
    singular_value: ArrayLike, initial: ArrayLike, time_constant: ArrayLike = 1.0
) -> Array:
    r"""When a mode has learned half of its strength: $\frac{\tau}{2s} \log(s/u_0 - 1)$.

    Args:
      singular_value: $s > u_0$.
      initial: $u_0 > 0$.
      time_constant: $\tau$.

    Returns:
      Time; NaN for $u_0 \ge s$, which is never below half.

    Example:
      >>> print(f"{saxe_half_time(2.0, 1e-6):.3f}")
      3.627
    """
    given: dict[str, ArrayLike] = {"singular_value": singular_value, "initial": initial}
    given |= {"time_constant": time_constant}
    given = check_numbers(**given)
    check_shapes("sigjax.theory.saxe_half_time", **given)
    return _saxe_half_time(None, *given.values())


@elementwise_in_double
def _saxe_half_time(_: None, s: Array, initial: Array, tau: Array) -> Array:
    rises = initial < s
    s, initial = jnp.where(rises, s, 1.0), jnp.where(rises, initial, 0.5)
    excess = (s - initial) - initial  # s/u_0 - 2, times u_0
    near = jnp.abs(excess) < initial / 2
    log = jnp.where(
        near,
        jnp.log1p(jnp.where(near, excess, 0.0) / initial),
        jnp.log((s - initial) / initial),
    )
    return nan_unless(rises, tau / (2 * s) * log)
