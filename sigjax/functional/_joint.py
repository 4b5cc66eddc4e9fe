"""What functions of several arguments share: promotion, one shape, one rounding."""

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, dtypes
from jax.typing import ArrayLike

from ._arguments import as_weak_as, check_shapes, real_array
from ._precision import computed_in


def evaluate_jointly(function: str, kernel: Callable[..., Array], **values: ArrayLike) -> Array:
    """Evaluates a differentiable kernel of arrays of one shape and rounds its result once.

    The result has the dtype, weak type, shape and sharding that `jax.numpy` gives a sum of the
    arguments; whole numbers become the default float. The kernel computes in float32 or float64,
    to which each argument is converted for itself: a Python number beside an array of 16 bits
    is not rounded to 16 bits first.

    Args:
      function: the public name, for error messages.
      kernel: takes the arguments in the order of `values`.

    Raises:
      TypeError: if a value is not a number or an array, or if it is complex.
      ValueError: if the shapes cannot be broadcast together.
    """
    arrays = [real_array(function, name, value) for name, value in values.items()]
    check_shapes(f"sigjax.{function}", **values)
    dtype, weak = dtypes.result_type(*arrays, return_weak_type_flag=True)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    wide = [array.astype(computed_in(dtype)) for array in arrays]
    result = kernel(*_alike(wide)).astype(dtype)
    return as_weak_as(jnp.asarray(sum(arrays, 0.0)), result) if weak else result


def _alike(arrays: list[Array]) -> list[Array]:
    """Gives arrays the shape and sharding of their sum.

    By arithmetic, which takes sharded beside replicated arrays where a selection does not. x - 0
    keeps the sign of a zero, and is removed by the compiler.
    """
    zero = functools.reduce(operator.add, map(jnp.zeros_like, arrays))
    joint = jax.typeof(zero)
    return [array if jax.typeof(array) == joint else array - zero for array in arrays]
