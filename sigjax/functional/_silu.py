"""x sigma(x), also called swish."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _sigmoid
from ._elementwise import Elementwise
from ._exponentials import decay, magnitude
from ._precision import Kernel


def _value(x: Array) -> Array:
    a = magnitude(x)
    below = decay(a).times_sigmoid(a)  # -silu(-a), and silu(a) is the rest of a
    return jnp.where(x >= 0, x - below, -below)


# The numerators of both derivatives have a root where x is about 1.28 and 2.40. Adding 2^-n
# before 2^-n s leaves an absolute error of 2^-29 there (float32): the sums before it are exact.


def _first(x: Array) -> Array:
    a = magnitude(x)
    tail = decay(a)
    numerator = ((1 - a) + tail.power) + tail.power * tail.s  # 1 - a + t
    below = tail.times_over(numerator, 2 + tail.t)  # silu'(-a), and silu'(a) completes it to 1
    return jnp.where(x >= 0, 1 - below, below)


def _second(x: Array) -> Array:
    a = magnitude(x)
    tail = decay(a)
    power, t = tail.power, tail.t
    exact = (2 + 2 * power - a) + a * power
    numerator = exact + (2 + a) * power * tail.s  # 2 - a + (2 + a) t
    return tail.times_over(numerator, 3 + t * (3 + t))


def _nth_derivative(order: int) -> Kernel:
    if order < 3:
        return (_value, _first, _second)[order]
    lower, same = _sigmoid.nth_derivative(order - 1), _sigmoid.nth_derivative(order)
    # |x| is cut before it meets a derivative that is 0 at infinity.
    return lambda x: order * lower(x) + jnp.copysign(magnitude(x), x) * same(x)


_silu = Elementwise("silu", _nth_derivative)


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
    return _silu(x, faithful=faithful)


swish = silu
