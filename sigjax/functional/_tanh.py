"""The hyperbolic tangent as a rescaled sigmoid."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from . import _sigmoid
from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import decay, horner, magnitude
from ._precision import Kernel

# Powers of two are applied before the tail, whose product may be subnormal: scaling it up again
# would not bring back the digits that were lost.


def _value(x: Array) -> Array:
    return _sigmoid.tanh_half(2 * x)


def _first(x: Array) -> Array:
    tail = decay(magnitude(2 * x))
    return tail.times_over(jnp.full_like(x, 4), jnp.zeros_like(x), 2 + tail.t)


def _second(x: Array) -> Array:
    tail = decay(magnitude(2 * x))
    t = tail.t
    complement = tail.complement()
    signed = jnp.where(x < 0, complement, -complement)
    return tail.times_over(8 * signed, jnp.zeros_like(x), 3 + t * (3 + t))


def nth_derivative(order: int) -> Kernel:
    if order == 0:
        return _value
    if order == 1:
        return _first
    if order == 2:
        return _second
    polynomial = _sigmoid.derivative_polynomial(order)[::-1]
    return lambda x: _first(x) * (2.0 ** (order - 1) * horner(polynomial, _value(x)))


TANH_FROM_SIGMOID = Elementwise("tanh_from_sigmoid", nth_derivative)


@compiled("faithful")
def tanh_from_sigmoid(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The hyperbolic tangent, $\tanh x = 2\sigma(2x) - 1$.

    The identity as written loses all relative accuracy near 0; here it is
    $(1 - e^{-2|x|})/(1 + e^{-2|x|})$, with the numerator free of cancellation, and its
    $n$-th derivative is $2^{n+1} \sigma^{(n)}(2x)$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: -1 at -inf, 1 at +inf.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.tanh_from_sigmoid(1e-6):.1e}")
      1.0e-06
    """
    return TANH_FROM_SIGMOID(x, faithful=faithful)
