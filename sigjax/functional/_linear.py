"""The sigmoid as straight lines: its tangent at 0, and the hard sigmoid."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ._arguments import real_floating
from ._compiled import compiled
from ._elementwise import Elementwise
from ._precision import Kernel, round_once_joint


def _constant(x: Array, value: float) -> Array:
    return jnp.where(jnp.isnan(x), x, value)


def _tangent_nth_derivative(order: int) -> Kernel:
    if order == 0:
        return lambda x: x / 4 + 1 / 2
    return lambda x: _constant(x, 1 / 4 if order == 1 else 0.0)


def _hard_nth_derivative(order: int) -> Kernel:
    if order == 0:
        return lambda x: jnp.clip(x + 3, 0, 6) / 6
    if order == 1:
        return lambda x: jnp.where(jnp.abs(x) >= 3, 0, _constant(x, 1 / 6))
    return lambda x: _constant(x, 0.0)


SIGMOID_LINEAR = Elementwise("sigmoid_linear", _tangent_nth_derivative)
HARD_SIGMOID = Elementwise("hard_sigmoid", _hard_nth_derivative)


@compiled()
def sigmoid_linear(x: ArrayLike) -> Array:
    r"""The tangent of the sigmoid at 0, $\frac12 + \frac x4$.

    `sigmoid_linear_error` bounds its distance from the sigmoid.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.

    Returns:
      Array of the shape and floating dtype of `x`, not cut to [0, 1].

    Raises:
      TypeError: if `x` is complex or not a number.

    Example:
      >>> import sigjax
      >>> print(sigjax.sigmoid_linear(0.2))
      0.55
    """
    return SIGMOID_LINEAR(x)


@compiled()
def sigmoid_linear_error(x: ArrayLike) -> Array:
    r"""A bound of the linear form's error: $|\sigma(x) - \frac12 - \frac x4| \le B(x)$.

    $B(x) = \min(|x|^3/48, |x|/4)$. The first is Taylor's remainder: $\sigma''(0) = 0$ and
    $|\sigma'''| \le \frac18$. The second holds because $\sigma(x) - \frac12 =
    \frac12 \tanh\frac x2$ lies between 0 and $\frac x4$.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.

    Returns:
      Array of the shape and floating dtype of `x`; rounding adds its own error to both sides.

    Raises:
      TypeError: if `x` is complex or not a number.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.sigmoid_linear_error(0.1):.2e}")
      2.08e-05
    """

    def bound(x: Array) -> Array:
        return jnp.abs(x) * jnp.minimum(x * x / 12, 1) / 4

    return round_once_joint(bound, real_floating("sigmoid_linear_error", "x", x))


@compiled()
def hard_sigmoid(x: ArrayLike) -> Array:
    r"""The hard sigmoid, $\min(\max(x + 3, 0), 6)/6$.

    Drop-in for `jax.nn.hard_sigmoid`, which rounds twice in 16 bits.

    Args:
      x: real array or scalar, shape `[...]`; integers are promoted to the default float.

    Returns:
      Array of the shape and floating dtype of `x`. The derivative is 1/6 inside (-3, 3) and 0
      elsewhere, the kinks included.

    Raises:
      TypeError: if `x` is complex or not a number.

    Example:
      >>> import sigjax
      >>> print(sigjax.hard_sigmoid(0.0), sigjax.hard_sigmoid(-4.0))
      0.5 0.0

    References:
      Howard et al. 2019, "Searching for MobileNetV3" (arXiv:1905.02244), section 5.2.
    """
    return HARD_SIGMOID(x)
