"""What a function gives where it has no finite value.

JAX can be told to stop at the first NaN (`jax_debug_nans`), which without compilation looks at
every intermediate array: a constant NaN to choose from would stop every call. Here a NaN appears
only where it is the result.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

_INTEGERS: dict[int, DTypeLike] = {4: np.int32, 8: np.int64}


def defined_where(valid: Array, x: Array, *limits: tuple[Array, float]) -> Array:
    """`x` where it is valid; elsewhere the first limit whose condition holds, and else NaN.

    Chosen among bits, which are no numbers yet: as fast as a choice among numbers. Not to be
    differentiated.

    Args:
      valid: of the shape of `x`.
      x: float32 or float64.
      limits: conditions, of the shape of `x`, and what is given there.
    """
    integer = np.dtype(_INTEGERS[x.dtype.itemsize])
    bits = lax.bitcast_convert_type(x, integer)

    def bits_of(number: float) -> Array:
        return lax.full_like(bits, np.asarray(number, x.dtype).view(integer))

    elsewhere = bits_of(math.nan)
    for condition, limit in reversed(limits):
        elsewhere = lax.select(condition, bits_of(limit), elsewhere)
    return lax.bitcast_convert_type(lax.select(valid, bits, elsewhere), x.dtype)


def nan_unless(valid: Array, x: Array) -> Array:
    """The array where it is valid, elsewhere NaN: the root of -1. Differentiable."""
    return x + jnp.sqrt(jnp.where(valid, 0, -1).astype(x.dtype))
