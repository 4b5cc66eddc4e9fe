"""What is checked of numbers that are known: a compiled loss sees only shapes and dtypes."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import checkify
from jax.typing import ArrayLike

from ..functional._messages import must
from ..functional._precision import computed_in

F = TypeVar("F", bound=Callable[..., Any])

# Stands for the largest number of the type that a loss is computed in, which a call decides.
LARGEST = math.inf
_LARGEST_FLOAT32 = float(jnp.finfo(jnp.float32).max)


def checked(**ranges: tuple[float, float]) -> Callable[[F], F]:
    """Holds parameters of a loss to their ranges, and its labels if `check_labels` says so.

    A number costs a comparison, a parameter that was left out nothing. An array is read if it is
    known; one that `jit` traces is not.

    Args:
      ranges: from a parameter's name to its lowest and highest value.
    """

    def decorate(function: F) -> F:
        names = list(inspect.signature(function).parameters)
        positions = {name: names.index(name) for name in ranges}

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Array:
            for name, (low, high) in ranges.items():
                if name in kwargs:
                    value = kwargs[name]
                elif len(args) > positions[name]:
                    value = args[positions[name]]
                else:
                    continue
                if type(value) not in (float, int) or not low <= value <= min(
                    high, _LARGEST_FLOAT32
                ):
                    first = args[0] if args else kwargs.get(names[0], 0.0)
                    _check_range(function.__name__, name, value, low, high, first)
            loss = function(*args, **kwargs)
            if kwargs.get("check_labels"):
                labels = kwargs["labels"] if "labels" in kwargs else args[1]
                _check_labels(function.__name__, labels, kwargs.get("where"))
            return loss

        return cast(F, public)

    return decorate


def _check_range(
    function: str, name: str, value: Any, low: float, high: float, like: ArrayLike
) -> None:
    """Raises ValueError for a number or a known array outside [low, high]."""
    if isinstance(value, jax.core.Tracer) or not getattr(value, "is_fully_addressable", True):
        return
    known = np.asarray(value)
    if not (np.issubdtype(known.dtype, np.number) or known.dtype == jnp.bfloat16):
        return  # nothing that the loss takes, which says so itself
    dtype = computed_in(jnp.result_type(like))
    high = min(high, float(jnp.finfo(dtype).max))
    if not np.all((known >= low) & (known <= high)):
        raise ValueError(
            must(name, f"be in [{low:g}, {high:g}]", value, of=f"sigjax.losses.{function}")
        )


def _check_labels(function: str, labels: ArrayLike, where: ArrayLike | None) -> None:
    """Raises for labels that count and are outside [0, 1]: ValueError, or what checkify finds."""
    labels = jnp.asarray(labels)
    low, high = jnp.min(labels, initial=1, where=where), jnp.max(labels, initial=0, where=where)
    inside = jnp.all((labels >= 0) & (labels <= 1), where=where)  # false for NaN
    message = f"sigjax.losses.{function}: argument 'labels' must be in [0, 1], got "
    if isinstance(inside, jax.core.Tracer):
        checkify.check(inside, message + "labels between {low} and {high}", low=low, high=high)
    elif not inside:
        raise ValueError(message + f"labels between {low:g} and {high:g}")
