"""x sigma(x), also called swish."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from . import _sigmoid
from ._arithmetic import add, choose, divide, less, maximum, multiply, subtract
from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, magnitude
from ._precision import Kernel


class _TailShift(NamedTuple):
    """Where e^-x overflows, x e^x still is a normal number: there e^-(x + by) is used.

    Attributes:
      start: |x| from which on the exponent is shifted; below it e^-x is finite.
      by: a multiple of 1/8, so that x + by is exact. Of those between 16 and 40 it is the one
        whose `factor` is nearest to a number of the format.
      factor: $e^{-by}$.
      zero: |x| from which on the result is below the smallest subnormal number.
    """

    start: float
    by: float
    factor: float
    zero: float


_TAIL_SHIFTS = {
    "float32": _TailShift(start=87.0, by=22.625, factor=math.exp(-22.625), zero=120.0),
    "float64": _TailShift(start=708.0, by=19.125, factor=math.exp(-19.125), zero=800.0),
}


def _value(x: Array) -> Array:
    """x/(1 + e^-x) in eight operations: XLA's CPU does not split so light a loop over threads."""
    shift = _TAIL_SHIFTS[x.dtype.name]
    in_tail = less(x, -shift.start)
    grown = lax.exp(subtract(choose(in_tail, -shift.by, 0.0, x), x))
    scale = choose(in_tail, shift.factor, 1.0, x)
    return divide(multiply(maximum(x, -shift.zero), scale), add(1.0, grown))


# The numerators of both derivatives have a root where |x| is about 1.28 and 2.40. With t taken
# apart as 2^-n + 2^-n s they start with a sum that is exact there: the error stays absolute.


def _first(x: Array) -> Array:
    a = magnitude(x)
    tail = decay(a)
    # t (1 - a + t)/(1+t)^2 is silu'(-a), and silu'(a) completes it to 1.
    start = add(subtract(1.0, a), tail.power)
    below = tail.times_over(start, tail.power, add(2.0, tail.t))
    negative = less(x, 0.0)
    sign = choose(negative, 1.0, -1.0, x)
    return add(choose(negative, 0.0, 1.0, x), multiply(sign, below))


def _second(x: Array) -> Array:
    a = magnitude(x)
    tail = decay(a)
    power, t = tail.power, tail.t
    start = add(subtract(add(2.0, multiply(2.0, power)), a), multiply(a, power))
    # t (2 - a + (2 + a) t)/(1+t)^3
    slope = multiply(add(2.0, a), power)
    return tail.times_over(start, slope, add(3.0, multiply(t, add(3.0, t))))


def _nth_derivative(order: int) -> Kernel:
    if order < 3:
        return (_value, _first, _second)[order]
    lower, same = _sigmoid.nth_derivative(order - 1), _sigmoid.nth_derivative(order)
    # |x| is cut before it meets a derivative that is 0 at infinity.
    return lambda x: order * lower(x) + jnp.copysign(magnitude(x), x) * same(x)


SILU = Elementwise("silu", _nth_derivative)


@compiled("faithful")
def silu(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The sigmoid-weighted linear unit $x\,\sigma(x)$, also called swish.

    Drop-in for `jax.nn.silu`, which is NaN at -inf and in float16 reaches 0 at -11.1. The
    error of the derivatives near their roots, -1.278 and $\pm 2.399$, is below $2^{-29}$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: -0 at -inf, +inf at +inf; the
      first derivative goes to 0 and 1, the second to 0.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import jax, sigjax
      >>> print(sigjax.silu(-float("inf")), jax.grad(sigjax.silu)(float("inf")))
      -0.0 1.0

    References:
      Elfwing, Uchibe & Doya 2018, Neural Networks 107:3-11 (arXiv:1702.03118).
    """
    return SILU(x, faithful=faithful)


swish = silu
