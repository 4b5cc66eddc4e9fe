"""log(1 + e^x) and the logarithms of the sigmoid, which are its mirror images."""

from jax import Array, lax
from jax.typing import ArrayLike

from . import _sigmoid
from ._arithmetic import add, maximum
from ._compiled import compiled
from ._elementwise import Elementwise
from ._exponentials import log1p_unit
from ._precision import Kernel


def _value(x: Array) -> Array:
    return add(maximum(x, 0.0), log1p_unit(lax.exp(lax.neg(lax.abs(x)))))


def nth_derivative(order: int) -> Kernel:
    return _value if order == 0 else _sigmoid.nth_derivative(order - 1)


def _nth_derivative_of_log_sigmoid(order: int) -> Kernel:
    kernel = nth_derivative(order)
    if order % 2:
        return lambda x: kernel(lax.neg(x))
    return lambda x: lax.neg(kernel(lax.neg(x)))


def _nth_derivative_of_log1m_sigmoid(order: int) -> Kernel:
    kernel = nth_derivative(order)
    return lambda x: lax.neg(kernel(x))


SOFTPLUS = Elementwise("softplus", nth_derivative)
LOG_SIGMOID = Elementwise("log_sigmoid", _nth_derivative_of_log_sigmoid)
LOG1M_SIGMOID = Elementwise("log1m_sigmoid", _nth_derivative_of_log1m_sigmoid)


@compiled("faithful")
def softplus(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The softplus $\log(1 + e^x)$, with derivative $\sigma(x)$.

    Drop-in for `jax.nn.softplus`, whose derivative `exp(x - ans)` is wrong by $|x|$ ulp and
    whose second derivative is 0 for $x > 14.6$ in float32.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: 0 at -inf, +inf at +inf.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import jax, sigjax
      >>> print(f"{jax.grad(jax.grad(sigjax.softplus))(20.0):.6g}")
      2.06115e-09
    """
    return SOFTPLUS(x, faithful=faithful)


@compiled("faithful")
def log_sigmoid(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The logarithm of the sigmoid, $\log \sigma(x) = -\log(1 + e^{-x})$.

    Drop-in for `jax.nn.log_sigmoid`; its derivative is $\sigma(-x)$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: -inf at -inf, 0 at +inf.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log_sigmoid(-100.0):.1f}")
      -100.0
    """
    return LOG_SIGMOID(x, faithful=faithful)


@compiled("faithful")
def log1m_sigmoid(x: ArrayLike, *, faithful: bool = False) -> Array:
    r"""The logarithm of the complement, $\log(1 - \sigma(x)) = -\log(1 + e^{x})$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.
      faithful: compute float32 in float64 and round once; see `sigmoid` for the price.

    Returns:
      Array of the shape and floating dtype of `x`. Limits: 0 at -inf, -inf at +inf.

    Raises:
      TypeError: if `x` is complex or not a number.
      ValueError: if `faithful` and `x` is float64.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.log1m_sigmoid(100.0):.1f}")
      -100.0
    """
    return LOG1M_SIGMOID(x, faithful=faithful)
