"""The hyperbolic tangent as a rescaled sigmoid."""

from jax import Array
from jax.typing import ArrayLike

from . import _sigmoid
from ._elementwise import Elementwise
from ._precision import Kernel


def nth_derivative(order: int) -> Kernel:
    if order == 0:
        return lambda x: _sigmoid.tanh_half(2 * x)
    kernel = _sigmoid.nth_derivative(order)
    scale = 2.0 ** (order + 1)
    return lambda x: scale * kernel(2 * x)


_tanh_from_sigmoid = Elementwise("tanh_from_sigmoid", nth_derivative)


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
    return _tanh_from_sigmoid(x, faithful=faithful)
