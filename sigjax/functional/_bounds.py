"""The ends of an interval: checked before they are rounded, and what rounding takes kept."""

import functools
import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ._messages import must

# low - float32(low), and the same of high; None where both are 0 or not known.
Rests: TypeAlias = tuple[ArrayLike, ArrayLike] | None


def known_bounds(function: str, low: Any, high: Any) -> tuple[Any, Any, Rests]:
    """Returns the bounds and, where they are neither traced nor transformed, their rests.

    Raises:
      ValueError: if they are known and infinite, NaN or in the wrong order.
    """
    if type(low) in (float, int) and type(high) in (float, int):
        return _known_numbers(function, low, high)
    if isinstance(low, jax.core.Tracer) or isinstance(high, jax.core.Tracer):
        return low, high, None
    least, most = np.asarray(low), np.asarray(high)
    if not (_is_real(least) and _is_real(most)):
        return low, high, None  # refused, with its name, where the arguments are joined
    return low, high, _checked_rests(function, low, high, least, most)


@functools.lru_cache(maxsize=256)
def _known_numbers(function: str, low: float | int, high: float | int) -> tuple[Any, Any, Rests]:
    """Python numbers: a call costs as much as a look into a dictionary."""
    exact = [np.asarray(_to_float(bound)) for bound in (low, high)]
    rests = _checked_rests(function, low, high, *exact)
    # JAX refuses a larger integer.
    least, most = (float(bound) if abs(bound) >= 2**31 else bound for bound in (low, high))
    return least, most, rests


def _to_float(number: float | int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _checked_rests(
    function: str, low: Any, high: Any, least: np.ndarray, most: np.ndarray
) -> Rests:
    try:
        ordered = np.isfinite(least) & np.isfinite(most) & (least < most)
    except ValueError:
        return None  # shapes that do not broadcast together: refused there, too
    if not np.all(ordered):
        raise ValueError(
            must(
                ("low", "high"),
                "be finite with low < high",
                f"low={low} and high={high}",
                of=f"sigjax.{function}",
            )
        )
    rests = _rest(least), _rest(most)
    return rests if any(np.any(rest) for rest in rests) else None


def _is_real(x: np.ndarray) -> bool:
    return any(jnp.issubdtype(x.dtype, kind) for kind in (np.floating, np.integer, np.bool_))


def _rest(bound: np.ndarray) -> np.ndarray:
    exact = bound.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rest = exact - bound.astype(np.float32)
    return np.where(np.isfinite(rest), rest, 0).astype(np.float32)


def of_dtype(rests: Rests, x: Array) -> tuple[Array, Array]:
    """The rests as arrays like `x`; 0 in float64, which holds what Python and NumPy know."""
    zero = jnp.zeros_like(x)
    if rests is None or x.dtype == jnp.float64:
        return zero, zero
    low, high = (zero + rest for rest in rests)
    return low, high
