"""What the fits accept, checked where the values are known."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..functional._arguments import check_numbers

# Arrays, or Python numbers in a list.
Values = ArrayLike | Sequence[Any]


def is_known(x: Values) -> bool:
    """Whether values can be looked at: not while being traced."""
    return not isinstance(x, jax.core.Tracer)


def real_floating(name: str, x: Values) -> Array:
    """An array of at least float32, finite.

    Raises:
      TypeError: if it is complex, or not numbers.
      ValueError: if a value is infinite or NaN.
    """
    check_numbers(**{name: x})
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    wide = array.astype(jnp.float32) if array.dtype.itemsize < 4 else array
    if is_known(x) and not np.isfinite(np.asarray(wide)).all():
        raise ValueError(f"{name} must be finite, but some are infinite or NaN")
    return wide


def one_dimensional(name: str, x: Array) -> Array:
    """The array itself.

    Raises:
      ValueError: if it has another rank than 1, or no elements.
    """
    if x.ndim != 1:
        raise ValueError(f"{name} must have shape [examples], not {x.shape}; use jax.vmap for more")
    if x.shape[0] == 0:
        raise ValueError(f"{name} must have at least one example")
    return x


def two_classes(labels: Values, examples: int) -> Array:
    """Which examples are positive, from booleans, {0, 1} or {-1, 1}.

    Raises:
      ValueError: if the shape is another, or a value is none of these.
    """
    check_numbers(labels=labels)
    array = jnp.asarray(labels)
    if array.shape != (examples,):
        raise ValueError(f"labels must have the shape of the scores, {(examples,)}: {array.shape}")
    if is_known(labels):
        values = set(np.unique(np.asarray(labels)).tolist())
        if not (values <= {0, 1} or values <= {-1, 1}):
            shown = ", ".join(map(str, sorted(values)[:5]))
            raise ValueError(f"labels must be booleans, 0 and 1, or -1 and 1, not {shown}")
    return array > jnp.zeros((), array.dtype) if array.dtype != jnp.bool_ else array


def nonnegative_weights(weights: Values | None, like: Array) -> Array:
    """Weights `[examples]` in the dtype of `like`; ones by default.

    Raises:
      ValueError: if the shape is another, one is negative or not finite, or all are 0.
    """
    if weights is None:
        return jnp.ones(like.shape[:1], like.dtype)
    check_numbers(weights=weights)
    array = jnp.asarray(weights).astype(like.dtype)
    if array.shape != like.shape[:1]:
        raise ValueError(f"weights must have shape {like.shape[:1]}, not {array.shape}")
    if is_known(weights):
        values = np.asarray(array)
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError("weights must be finite and not negative")
        if not values.any():
            raise ValueError("weights must not all be 0: nothing would be fitted")
    return array
