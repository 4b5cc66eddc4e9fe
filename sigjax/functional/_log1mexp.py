"""log(1 - e^-x)."""

import functools

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from numpy.polynomial import Polynomial

from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, horner, log_of, magnitude, two_atanh_half
from ._precision import Kernel
from ._undefined import defined_where

# Below this x of any format, 1 - e^-x and x are the same number.
_TINY = 2.0**-55


def _nan_below_0(x: Array, value: Array) -> Array:
    return defined_where(x >= 0, value)


def log_complement(x: Array) -> Array:
    """log(1 - e^-x) where that is at most -log 2; subnormal x is not taken for 0."""
    return log_of(jnp.where(x < _TINY, x, decay(magnitude(x)).complement()))


def minus_log1m(w: Array) -> Array:
    r"""$-\log(1 - w)$ for $-1 \le w \le 1/2$."""
    return two_atanh_half(w / (1 - w / 2))


def _value(x: Array) -> Array:
    tail = decay(magnitude(x))
    far = -minus_log1m(jnp.minimum(tail.t, 0.5))
    return _nan_below_0(x, jnp.where(tail.t > 0.5, log_complement(x), far))


@functools.cache
def _polynomial(order: int) -> tuple[float, ...]:
    """Coefficients of $Q_n$, highest power first, in $f^{(n)} = Q_n(y)$ with $y = 1/(e^x - 1)$.

    $y' = -y(1+y)$, hence $Q_1 = y$ and $Q_{n+1} = -y(1+y) Q_n'$; all terms have one sign.
    """
    polynomial = Polynomial([0.0, 1.0])
    for _ in range(order - 1):
        polynomial = Polynomial([0.0, -1.0, -1.0]) * polynomial.deriv()
    return tuple(polynomial.coef[::-1].tolist())


def nth_derivative(order: int) -> Kernel:
    """Returns the kernel of the `order`-th derivative of log1mexp."""
    if order == 0:
        return _value

    def kernel(x: Array) -> Array:
        tail = decay(magnitude(x))
        inverse = 1 / tail.complement()
        if order == 1:
            return _nan_below_0(x, tail.t * inverse)
        if order == 2:
            return _nan_below_0(x, -(tail.t * inverse) * inverse)
        return _nan_below_0(x, horner(_polynomial(order), tail.t * inverse))

    return kernel


LOG1MEXP = Elementwise("log1mexp", nth_derivative)


@compiled("faithful")
def log1mexp(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""$\log(1 - e^{-x})$ for $x \ge 0$.

    Drop-in for `jax.nn.log1mexp`, whose second derivative is NaN in float32 for $x \ge 100$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: -inf at 0, 0 at +inf; NaN for
      negative `x`.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log1mexp(1e-10):.4f}")
      -23.0259

    References:
      Maechler 2012, "Accurately computing log(1 - exp(-|a|))", vignette of the R package Rmpfr.
    """
    return LOG1MEXP(x, faithful=faithful)
