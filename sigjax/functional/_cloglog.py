"""The complementary log-log link, log(-log(1 - p)), and its inverse."""

import functools
import math

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from numpy.polynomial import Polynomial

from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, exp_in_two, horner, log_of
from ._log1mexp import minus_log1m
from ._precision import Kernel
from ._root import ONE_LESS_1_OVER_E
from ._undefined import defined_where

# Below this p of any format, -log(1 - p) and p are the same number.
_TINY = 2.0**-55


def _inside(p: Array, value: Array) -> Array:
    return defined_where((p >= 0) & (p <= 1), value)


def _hazard(p: Array) -> Array:
    r"""$L = -\log(1 - p)$: the cumulative hazard of a survival probability $1 - p$."""
    return jnp.where(p < 0.5, minus_log1m(jnp.minimum(p, 0.5)), -jnp.log(1 - p))


def _hazard_less_1(p: Array) -> Array:
    """$L - 1$, with its root at $1 - 1/e$: there $1 - p = (1 - w)/e$ with $w = e (p - root)$."""
    d, rest = ONE_LESS_1_OVER_E.difference(p)
    near = minus_log1m(jnp.clip(math.e * d, -0.5, 0.5) - math.e * rest)
    return jnp.where(jnp.abs(d) < 0.15, near, _hazard(p) - 1)


def _value(p: Array) -> Array:
    excess = _hazard_less_1(p)
    near = -minus_log1m(jnp.clip(-excess, -0.5, 0.5))
    hazard = jnp.where(p < _TINY, p, _hazard(p))
    return _inside(p, jnp.where(jnp.abs(excess) < 0.4, near, log_of(hazard)))


@functools.cache
def _link_polynomial(order: int) -> tuple[float, ...]:
    r"""Coefficients of $R_n$, highest power first, in $f^{(n)} = (1-p)^{-n} R_n(1/L)$.

    With $v = 1/L$: $R_1 = v$ and $R_{n+1} = n R_n - v^2 R_n'$.
    """
    polynomial = Polynomial([0.0, 1.0])
    for n in range(1, order):
        polynomial = n * polynomial - Polynomial([0.0, 0.0, 1.0]) * polynomial.deriv()
    return tuple(polynomial.coef[::-1].tolist())


def _link_nth_derivative(order: int) -> Kernel:
    if order == 0:
        return _value

    def kernel(p: Array) -> Array:
        q = 1 - p
        hazard = _hazard(p)
        if order > 2:
            series = horner(_link_polynomial(order), 1 / hazard)
            for _ in range(order):
                series = series / q
            return _inside(p, series)
        slope = 1 / jnp.where(q == 0, 0, q * hazard)  # q log q goes to 0
        if order == 1:
            return _inside(p, slope)
        return _inside(p, (_hazard_less_1(p) * slope) * slope)

    return kernel


@functools.cache
def _inverse_polynomial(order: int) -> tuple[float, ...]:
    """Coefficients of $T_n$, highest power first, in $F^{(n)} = e^{-a} a T_n(a)$, $a = e^x$.

    $T_1 = 1$ and $T_{n+1} = (1 - a) T_n + a T_n'$.
    """
    polynomial = Polynomial([1.0])
    for _ in range(order - 1):
        polynomial = Polynomial([1.0, -1.0]) * polynomial + (
            Polynomial([0.0, 1.0]) * polynomial.deriv()
        )
    return tuple(polynomial.coef[::-1].tolist())


def _inverse_nth_derivative(order: int) -> Kernel:
    def kernel(x: Array) -> Array:
        # e^-a magnifies an error of a by a: what rounding took from a is put back.
        a, rest = exp_in_two(x)
        tail = decay(a)
        if order == 0:
            return tail.complement() + rest * tail.t
        factor = a
        if order == 2:
            nearly_1 = decay(-jnp.clip(x, -1, 1)).complement()
            factor = a * jnp.where(jnp.abs(x) < 1, nearly_1, 1 - a)
        elif order > 2:
            factor = a * horner(_inverse_polynomial(order), a)
        return tail.times(factor - factor * rest)

    return kernel


CLOGLOG = Elementwise("cloglog", _link_nth_derivative, argument="p")
CLOGLOG_INVERSE = Elementwise("cloglog_inverse", _inverse_nth_derivative)


@compiled("faithful")
def cloglog(p: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The complementary log-log link, $\log(-\log(1 - p))$.

    It links the probability of an event to the log of its cumulative hazard, as `logit` links
    it to the log of its odds. Near its root, $1 - 1/e$, the relative error stays small.

    Args:
      p: real array or scalar in [0, 1], shape `[...]`.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `p`. Limits: -inf at 0, +inf at 1; NaN outside
      [0, 1].

    Raises:
      TypeError: if `p` is complex or not a number.
      ValueError: if `faithful` and `p` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.cloglog(1e-20):.4f}")
      -46.0517

    References:
      McCullagh & Nelder 1989, Generalized Linear Models, 2nd ed., section 4.3.1.
    """
    return CLOGLOG(p, faithful=faithful)


@compiled("faithful")
def cloglog_inverse(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The inverse of the complementary log-log link, $1 - e^{-e^x}$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: 0 at -inf, 1 at +inf. The error of
      the derivatives grows with $e^x$, to 13 ulp in float32 (52 in float64) where they vanish.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.cloglog_inverse(0.0):.6f}")
      0.632121
    """
    return CLOGLOG_INVERSE(x, faithful=faithful)
