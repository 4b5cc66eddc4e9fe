"""Models are frozen dataclasses of numbers and arrays, and pytrees."""

import dataclasses
import functools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


def model(cls: type[T]) -> type[T]:
    """Registers a dataclass whose fields are all parameters, so that any may be an array."""
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    return jax.tree_util.register_dataclass(cls, data_fields=names, meta_fields=[])


def require_sign(owner: Any, *names: str, or_zero: bool = False, negative: bool = False) -> None:
    """Refuses known values of another sign; what is traced, or no number, is let through.

    Raises:
      ValueError: naming the parameter.
    """
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, jax.core.Tracer) or not isinstance(
            value, int | float | np.ndarray | np.generic | jax.Array
        ):
            continue  # jax rebuilds models with placeholders
        known = np.asarray(value)
        signed = -known if negative else known
        if not ((signed >= 0) if or_zero else (signed > 0)).all():
            wanted = ("negative" if negative else "positive") + (" or 0" if or_zero else "")
            raise ValueError(f"{type(owner).__name__}: {name} must be {wanted}, not {value}")


def broadcast(*values: Any) -> tuple[jax.Array, ...]:
    """Parameters as arrays of one real floating dtype and one shape."""
    dtypes = [jnp.asarray(value).dtype for value in values if not isinstance(value, int | float)]
    dtype = functools.reduce(jnp.promote_types, dtypes) if dtypes else jnp.result_type(float)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return tuple(jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values)))
