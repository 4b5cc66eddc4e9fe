"""Models are frozen dataclasses of numbers and arrays, and pytrees."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ..functional._arguments import check_numbers
from ..functional._messages import must

T = TypeVar("T")


def model(cls: type[T]) -> type[T]:
    """Registers a dataclass whose fields are all parameters, so that any may be an array.

    jax rebuilds pytrees with gradients, masks and placeholders for leaves: only the constructor,
    which people call, checks signs.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]

    def with_keys(owner: T) -> tuple[list[tuple[Any, Any]], None]:
        return [(jax.tree_util.GetAttrKey(name), getattr(owner, name)) for name in names], None

    def flat(owner: T) -> tuple[list[Any], None]:
        return [getattr(owner, name) for name in names], None

    def rebuild(_: None, values: Iterable[Any]) -> T:
        owner = object.__new__(cls)
        for name, value in zip(names, values, strict=True):
            object.__setattr__(owner, name, value)
        return owner

    jax.tree_util.register_pytree_with_keys(cls, with_keys, rebuild, flat)
    return cls


def require_numbers(owner: Any) -> None:
    """Refuses parameters that are no real numbers or arrays of them.

    Raises:
      TypeError: naming the parameter.
    """
    check_numbers(**{field.name: getattr(owner, field.name) for field in dataclasses.fields(owner)})


def require_sign(owner: Any, *names: str, or_zero: bool = False, negative: bool = False) -> None:
    """Refuses known values of another sign; what is traced is let through.

    Raises:
      ValueError: naming the parameter.
    """
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, jax.core.Tracer):
            continue
        known = np.asarray(value)
        signed = -known if negative else known
        if not ((signed >= 0) if or_zero else (signed > 0)).all():
            wanted = ("negative" if negative else "positive") + (" or 0" if or_zero else "")
            raise ValueError(
                must(name, f"be {wanted}", value, of=f"sigjax.dynamics.{type(owner).__name__}")
            )


def broadcast(*values: Any) -> tuple[jax.Array, ...]:
    """Parameters as arrays of one real floating dtype and one shape."""
    values = tuple(map(_in_native_order, values))
    dtypes = [jnp.asarray(value).dtype for value in values if not isinstance(value, int | float)]
    dtype = functools.reduce(jnp.promote_types, dtypes) if dtypes else jnp.result_type(float)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    return tuple(jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values)))


def _in_native_order(value: Any) -> Any:
    """A NumPy array with the bytes of each number in the machine's order, which JAX wants."""
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def of_one_rank(*values: Any) -> tuple[jax.Array, ...]:
    """Arrays with leading axes of size 1, so that all have as many: what NumPy does in secret."""
    arrays = [jnp.asarray(value) for value in values]
    most = max(array.ndim for array in arrays)
    return tuple(jnp.expand_dims(a, tuple(range(most - a.ndim))) for a in arrays)
