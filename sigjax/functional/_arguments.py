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
    if not (isinstance(value, (bool, int, float, complex, np.generic)) or hasattr(value, "dtype")):
        raise TypeError(
            f"sigjax.{function}: argument '{argument}' must be a real number or array, "
            f"got {type(value).__name__}"
        )
    x = jnp.asarray(value)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if jnp.issubdtype(x.dtype, jnp.integer) or x.dtype == jnp.bool_:
        return jnp.true_divide(x, 1)
    raise TypeError(
        f"sigjax.{function}: argument '{argument}' must be real, got dtype {x.dtype.name}"
    )
