"""What every function of the package accepts as a real argument."""

import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ._messages import must


def real_floating(function: str, argument: str, value: ArrayLike) -> Array:
    """Returns `value` as a real floating array, promoted as `jax.nn` promotes it.

    Floating dtypes and weak types are kept, integers and booleans become the default float.

    Raises:
      TypeError: if `value` is not a number or an array, or if it is complex.
    """
    return _floating(real_array(function, argument, value))


def as_weak_as(x: Array, value: Array) -> Array:
    """Returns `value`, which has the dtype of `x`, with a weak type if `x` has one.

    The result for a Python scalar must not decide the dtype of what it is combined with.
    """
    return jnp.zeros_like(x, shape=value.shape).at[...].set(value) if x.weak_type else value


def real_array(function: str, argument: str, value: ArrayLike) -> Array:
    """Returns `value` as an array of the dtype and weak type that `jax.numpy` gives it.

    Raises:
      TypeError: if it is not a number or an array, or if it is complex.
    """
    if not (isinstance(value, (bool, int, float, complex, np.generic)) or hasattr(value, "dtype")):
        raise TypeError(
            must(
                argument, "be a real number or array", type(value).__name__, of=f"sigjax.{function}"
            )
        )
    # Before jnp sees it: NumPy's arrays of strings and objects are refused there without a name.
    dtype = getattr(value, "dtype", None) or jnp.asarray(value).dtype
    if not _is_real(dtype):
        raise TypeError(must(argument, "be real", f"dtype {dtype.name}", of=f"sigjax.{function}"))
    return jnp.asarray(value)


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


def _floating(x: Array) -> Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return jnp.true_divide(x, True if x.dtype == jnp.bool_ else 1)  # weak types stay weak


def check_shapes(function: str, **values: ArrayLike) -> tuple[Any, ...]:
    """The shape to which all values broadcast; under `jax.export` its sizes may be symbols.

    Raises:
      ValueError: if there is none.
    """
    try:
        return jnp.broadcast_shapes(*map(jnp.shape, values.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {jnp.shape(value)}" for name, value in values.items())
        raise ValueError(
            must(tuple(values), "have shapes that broadcast together", shapes, of=function)
        ) from error


def check_numbers(**values: Any) -> dict[str, Any]:
    """The values, made arrays where they were none.

    Raises:
      TypeError: for what is no real number, array of them, or list of numbers.
      ValueError: for masked values.
    """
    arrays = {}
    for name, value in values.items():
        known = arrays[name] = value if hasattr(value, "dtype") else np.asarray(value)
        if np.ma.is_masked(value):
            raise ValueError(must(name, "have no masked values", "some"))
        if not _is_real(known.dtype):
            got = f"dtype {known.dtype.name}" if hasattr(value, "dtype") else repr(value)
            raise TypeError(must(name, "be real numbers", got))
    return arrays


def check_functions(**values: Any) -> None:
    """Raises TypeError for what cannot be called, or cannot be told from other functions."""
    for name, value in values.items():
        if not callable(value):
            raise TypeError(must(name, "be a function", repr(value)))
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(must(name, "be hashable, to be compiled", repr(value))) from error


def check_integers(least: int = 1, **values: Any) -> None:
    """Raises TypeError for what is no integer, and ValueError below `least`."""
    for name, value in values.items():
        try:
            number = operator.index(value)
        except TypeError as error:
            raise TypeError(must(name, "be an integer", repr(value))) from error
        if number < least:
            raise ValueError(must(name, f"be at least {least}", value))
