"""What every function of the package accepts as a real argument."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def real_floating(function: str, argument: str, value: ArrayLike) -> Array:
    """Returns `value` as a real floating array, promoted as `jax.nn` promotes it.

    Floating dtypes and weak types are kept, integers and booleans become the default float.

    Raises:
      TypeError: if `value` is not a number or an array, or if it is complex.
    """
    return _floating(_real(function, argument, value))


def jointly_floating(function: str, **values: ArrayLike) -> tuple[Array, ...]:
    """Returns real arguments with one floating dtype and one shape, promoted as `jax.numpy` does.

    Raises:
      TypeError: if a value is not a number or an array, or if it is complex.
      ValueError: if the shapes cannot be broadcast together.
    """
    arrays = [_real(function, name, value) for name, value in values.items()]
    try:
        jnp.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError as error:
        shapes = ", ".join(f"{name} {jnp.shape(value)}" for name, value in values.items())
        raise ValueError(
            f"sigjax.{function}: arguments must have shapes that broadcast together, got {shapes}"
        ) from error
    joint = arrays[0]
    for array in arrays[1:]:
        joint = jnp.where(True, joint, array)  # promotes dtype, weak type and shape
    return tuple(_floating(jnp.where(True, array, joint)) for array in arrays)


def as_weak_as(x: Array, value: Array) -> Array:
    """Returns `value`, weakly typed if `x`, of its shape and dtype, is: a Python scalar's result
    must not decide the dtype of what it is combined with."""
    return x.at[...].set(value) if x.weak_type else value


def _real(function: str, argument: str, value: ArrayLike) -> Array:
    if not (isinstance(value, (bool, int, float, complex, np.generic)) or hasattr(value, "dtype")):
        raise TypeError(
            f"sigjax.{function}: argument '{argument}' must be a real number or array, "
            f"got {type(value).__name__}"
        )
    x = jnp.asarray(value)
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(x.dtype, kind) for kind in kinds):
        raise TypeError(
            f"sigjax.{function}: argument '{argument}' must be real, got dtype {x.dtype.name}"
        )
    return x


def _floating(x: Array) -> Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return jnp.true_divide(x, True if x.dtype == jnp.bool_ else 1)  # weak types stay weak
