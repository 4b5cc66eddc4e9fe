"""The logarithm of the hyperbolic cosine, a smooth |x|."""

import math

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _tanh
from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, log1p_unit, magnitude, two_atanh_half
from ._precision import Kernel
from ._sigmoid import tanh_half


def _value(x: Array) -> Array:
    a = jnp.abs(x)
    # cosh x = (1 + q^2)/(1 - q^2) with q = tanh(x/2): nothing cancels, as far as the fit reaches.
    q = jnp.minimum(tanh_half(a), math.tanh(0.6))
    far = (a - math.log(2)) + log1p_unit(decay(magnitude(2 * a)).t)
    return jnp.where(a < 1.2, two_atanh_half(q * (2 * q)), far)


def _nth_derivative(order: int) -> Kernel:
    return _value if order == 0 else _tanh.nth_derivative(order - 1)


LOG_COSH = Elementwise("log_cosh", _nth_derivative)


@compiled("faithful")
def log_cosh(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The logarithm of the hyperbolic cosine, $\log \cosh x$, with derivative $\tanh x$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`; +inf at both infinities. About $x^2/2$ near
      0, with full relative accuracy.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log_cosh(1e-3):.4e}", f"{sigjax.log_cosh(1000.0):.3f}")
      5.0000e-07 999.307
    """
    return LOG_COSH(x, faithful=faithful)
