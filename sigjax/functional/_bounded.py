"""The sigmoid onto an interval, its inverse, and the volume that it changes."""

from jax import Array
from jax.typing import ArrayLike

from ._bounds import Rests, known_bounds, of_dtype
from ._compiled import compiled
from ._interpolation import interpolation
from ._joint import evaluate_jointly
from ._log_odds import log_det, log_odds

# Bounds are checked, and what float32 cannot hold of them kept, outside the compiled programs:
# inside, their values are not known.


@compiled()
def _bounded_sigmoid(x: ArrayLike, low: ArrayLike, high: ArrayLike, rests: Rests) -> Array:
    def kernel(x: Array, low: Array, high: Array) -> Array:
        low_rest, high_rest = of_dtype(rests, x)
        return interpolation(0)(x, high, low, (high_rest, low_rest))

    return evaluate_jointly("bounded_sigmoid", kernel, x=x, low=low, high=high)


@compiled()
def _bounded_logit(y: ArrayLike, low: ArrayLike, high: ArrayLike, rests: Rests) -> Array:
    def kernel(y: Array, low: Array, high: Array) -> Array:
        return log_odds(0)(y, low, high, *of_dtype(rests, y))

    return evaluate_jointly("bounded_logit", kernel, y=y, low=low, high=high)


@compiled()
def _bounded_sigmoid_log_det(x: ArrayLike, low: ArrayLike, high: ArrayLike, rests: Rests) -> Array:
    def kernel(x: Array, low: Array, high: Array) -> Array:
        return log_det(x, low, high, *of_dtype(rests, x))

    return evaluate_jointly("bounded_sigmoid_log_det", kernel, x=x, low=low, high=high)


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
    return _bounded_sigmoid(x, *known_bounds("bounded_sigmoid", low, high))


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
    return _bounded_logit(y, *known_bounds("bounded_logit", low, high))


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
    return _bounded_sigmoid_log_det(x, *known_bounds("bounded_sigmoid_log_det", low, high))
