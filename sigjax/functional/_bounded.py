"""The sigmoid onto an interval, its inverse, and the volume that it changes."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ._arguments import jointly_floating
from ._exponentials import log_ratio, two_atanh_half
from ._precision import round_once_joint
from ._sigmoid import sigmoid
from ._softplus import log1m_sigmoid, log_sigmoid


def _check_bounds(function: str, low: ArrayLike, high: ArrayLike) -> None:
    """Refuses bounds that are known and wrong; under a transformation they are not known."""
    if isinstance(low, jax.core.Tracer) or isinstance(high, jax.core.Tracer):
        return
    least, most = np.asarray(low), np.asarray(high)
    if not np.all(np.isfinite(least) & np.isfinite(most) & (least < most)):
        raise ValueError(
            f"sigjax.{function}: arguments 'low' and 'high' must be finite with low < high, "
            f"got low={low} and high={high}"
        )


def _value(x: Array, low: Array, high: Array) -> Array:
    # Each half starts from its own end: rounding is monotone, so it cannot leave [low, high].
    width = high - low
    return jnp.where(x < 0, low + width * sigmoid(x), high - width * sigmoid(-x))


@jax.custom_jvp
def _inverse(y: Array, low: Array, high: Array) -> Array:
    below, above = y - low, high - y
    # A logarithm of the quotient would lose what is near the middle.
    centre = 2 * (below - above) / (below + above)
    inside = jnp.where(jnp.abs(centre) < 2 / 3, two_atanh_half(centre), log_ratio(below, above))
    edge = jnp.where(below == 0, -jnp.inf, jnp.where(above == 0, jnp.inf, jnp.nan))
    return jnp.where((below > 0) & (above > 0), inside, edge)


@_inverse.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (y, low, high), (dy, dlow, dhigh) = primals, tangents
    slope = (dy - dlow) / (y - low) + (dy - dhigh) / (high - y)
    return _inverse(y, low, high), slope


def _log_det(x: Array, low: Array, high: Array) -> Array:
    return jnp.log(high - low) + (log_sigmoid(x) + log1m_sigmoid(x))


def bounded_sigmoid(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    r"""The sigmoid onto an interval, $low + (high - low)\,\sigma(x)$.

    No result lies outside [low, high], whatever the rounding.

    Args:
      x: real array or scalar.
      low, high: finite bounds, low < high; all shapes broadcast together.

    Returns:
      Array of the joint shape and floating dtype. Limits: `low` at -inf, `high` at +inf.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: if the shapes do not broadcast, or if the bounds are known (not traced) and
        are infinite, NaN or in the wrong order.

    Example:
      >>> import sigjax
      >>> print(sigjax.bounded_sigmoid(0.0, -1.0, 3.0), sigjax.bounded_sigmoid(99.0, -1.0, 3.0))
      1.0 3.0
    """
    arguments = jointly_floating("bounded_sigmoid", x=x, low=low, high=high)
    _check_bounds("bounded_sigmoid", low, high)
    return round_once_joint(_value, *arguments)


def bounded_logit(y: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    r"""The inverse of `bounded_sigmoid`, $\log\frac{y - low}{high - y}$.

    Args:
      y: real array or scalar in [low, high].
      low, high: finite bounds, low < high; all shapes broadcast together.

    Returns:
      Array of the joint shape and floating dtype. Limits: -inf at `low`, +inf at `high`; NaN
      outside.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: as `bounded_sigmoid`.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.bounded_logit(2.0, -1.0, 3.0):.4f}")
      1.0986
    """
    arguments = jointly_floating("bounded_logit", y=y, low=low, high=high)
    _check_bounds("bounded_logit", low, high)
    return round_once_joint(_inverse, *arguments)


def bounded_sigmoid_log_det(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    r"""The log-derivative of `bounded_sigmoid`, $\log(high - low) + \log\sigma(x)\sigma(-x)$.

    Elementwise: a density's change of variables sums it over the event's axes.

    Args:
      x: real array or scalar.
      low, high: finite bounds, low < high; all shapes broadcast together.

    Returns:
      Array of the joint shape and floating dtype; -inf at both infinities.

    Raises:
      TypeError: if an argument is complex or not a number.
      ValueError: as `bounded_sigmoid`.

    Example:
      >>> import sigjax
      >>> print(f"{sigjax.bounded_sigmoid_log_det(100.0, 0.0, 1.0):.1f}")
      -100.0
    """
    arguments = jointly_floating("bounded_sigmoid_log_det", x=x, low=low, high=high)
    _check_bounds("bounded_sigmoid_log_det", low, high)
    return round_once_joint(_log_det, *arguments)
