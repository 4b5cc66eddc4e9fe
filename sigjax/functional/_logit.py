"""The log-odds, the inverse of the sigmoid."""

import math

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import as_normal, reduced_ratio, two_atanh_half
from ._precision import Kernel
from ._undefined import defined_where

_RAISED = 2.0**32


def _value(p: Array) -> Array:
    # log(p/q) = (j + k) log 2 + 2 artanh(z/2). On the middle third z is 4p - 2, which is exact:
    # there the logarithm of a rounded quotient would cancel.
    centre = 4 * p - 2
    in_middle = jnp.abs(centre) < 2 / 3
    normal, k = as_normal(p)
    z, j = reduced_ratio(normal, 1 - p)
    z = jnp.where(in_middle, centre, z)
    exponent = jnp.where(in_middle, 0, j + k)
    inside = two_atanh_half(z) + exponent.astype(p.dtype) * math.log(2)
    valid = (normal > 0) & (p < 1)
    return defined_where(valid, inside, (p == 0, -math.inf), (p == 1, math.inf))


def _nth_derivative(order: int) -> Kernel:
    r"""$(n-1)!\,(p^n \pm q^n)/(pq)^n$ with $q = 1-p$, and + for odd $n$; NaN outside [0, 1].

    For even $n$ the difference is $(p-q) \sum_k p^k q^{n-1-k}$: nothing cancels at 1/2.
    """
    if order == 0:
        return _value
    factorial = math.factorial(order - 1)

    def kernel(p: Array) -> Array:
        q = 1 - p
        product = p * q
        if order == 1:
            return defined_where(product >= 0, 1 / product)
        if order == 2:  # raised, so that the square is normal wherever the result is finite
            raised = product * _RAISED
            value = (p * (2 * _RAISED**2) - _RAISED**2) / (raised * raised)
            return defined_where(product >= 0, value)
        # pq = (1 - (p-q)^2)/4 keeps what 1 - p rounds away where both are about 1/2.
        excess = 2 * p - 1
        product = jnp.where(jnp.abs(excess) < 1 / 2, (1 - excess * excess) / 4, product)
        inverse = 1 / product
        if order % 2:
            total = p**order + q**order
        else:
            total = excess * sum(p**k * q ** (order - 1 - k) for k in range(order))
        total = factorial * total
        for _ in range(order):  # factor by factor: (pq)^n underflows before the result overflows
            total = total * inverse
        return defined_where(product >= 0, total)

    return kernel


LOGIT = Elementwise("logit", _nth_derivative, argument="p")


@compiled("faithful")
def logit(p: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The log-odds $\log\frac{p}{1-p}$, inverse of the sigmoid.

    Drop-in for `jax.scipy.special.logit`, whose relative error near 1/2 is that of a
    logarithm of a rounded quotient near 1 (1e-4 at $p = 0.5001$ in float32).

    Args:
      p: real array or scalar in [0, 1], shape `[...]`.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `p`. Limits: -inf at 0, +inf at 1; NaN outside
      [0, 1]. Subnormal `p` has its true log-odds also where the hardware flushes it.

    Raises:
      TypeError: if `p` is complex or not a number.
      ValueError: if `faithful` and `p` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.logit(0.9):.4f}")
      2.1972
    """
    return LOGIT(p, faithful=faithful)
