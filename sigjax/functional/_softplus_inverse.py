"""The inverse of the softplus, and the logit of an exponential, which is its mirror image."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _log1mexp
from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, magnitude, two_atanh_half
from ._precision import Kernel
from ._root import LOG_2
from ._undefined import defined_where


def _value(y: Array) -> Array:
    # log(e^y - 1) = 2 artanh(1 - e^-d) with d = y - log 2: the root is a difference of numbers.
    d, rest = LOG_2.difference(y)
    near = two_atanh_half(2 * (decay(jnp.clip(d, -1.0, 1.0)).complement() - rest))
    # artanh's fit reaches from log 1.5 to log 3
    return jnp.where((y > 0.42) & (y < 1.09), near, y + _log1mexp.nth_derivative(0)(y))


def _first(y: Array) -> Array:
    return defined_where(y >= 0, 1 / decay(magnitude(y)).complement())


def nth_derivative(order: int) -> Kernel:
    return (_value, _first)[order] if order < 2 else _log1mexp.nth_derivative(order)


def _nth_derivative_of_logitexp(order: int) -> Kernel:
    kernel = nth_derivative(order)
    if order % 2:
        return lambda x: kernel(-x)
    return lambda x: -kernel(-x)


def _nth_derivative_of_logit1mexp(order: int) -> Kernel:
    kernel = nth_derivative(order)
    if order % 2:
        return lambda x: -kernel(-x)
    return lambda x: kernel(-x)


SOFTPLUS_INVERSE = Elementwise("softplus_inverse", nth_derivative, argument="y")
LOGITEXP = Elementwise("logitexp", _nth_derivative_of_logitexp)
LOGIT1MEXP = Elementwise("logit1mexp", _nth_derivative_of_logit1mexp)


@compiled("faithful")
def softplus_inverse(y: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The inverse of the softplus, $\log(e^y - 1)$ for $y \ge 0$.

    Args:
      y: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `y`. Limits: -inf at 0, +inf at +inf; NaN for
      negative `y`. Near its root, $\log 2$, the relative error stays small.

    Raises:
      TypeError: if `y` is complex or not a number.
      ValueError: if `faithful` and `y` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.softplus_inverse(100.0):.1f}", f"{sigjax.softplus_inverse(1e-4):.4f}")
      100.0 -9.2103
    """
    return SOFTPLUS_INVERSE(y, faithful=faithful)


@compiled("faithful")
def logitexp(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The log-odds of a log-probability, $\operatorname{logit}(e^x) = x - \log(1 - e^x)$.

    Args:
      x: real array or scalar, shape `[...]`, at most 0.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: -inf at -inf, +inf at 0; NaN for
      positive `x`.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.logitexp(sigjax.log_sigmoid(-200.0)):.1f}")
      -200.0
    """
    return LOGITEXP(x, faithful=faithful)


@compiled("faithful")
def logit1mexp(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The log-odds from the complement's log-probability, $\operatorname{logit}(1 - e^x)$.

    Args:
      x: real array or scalar, shape `[...]`, at most 0.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: +inf at -inf, -inf at 0; NaN for
      positive `x`.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.logit1mexp(sigjax.log1m_sigmoid(3.0)):.4f}")
      3.0000
    """
    return LOGIT1MEXP(x, faithful=faithful)
