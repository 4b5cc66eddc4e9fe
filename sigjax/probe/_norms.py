"""Norms that neither underflow nor overflow on the way."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ..functional._messages import must


class Scaled(NamedTuple):
    r"""An array with its magnitude kept apart: the value is `mantissa` $\cdot 2^{exponent}$.

    Deep in a plain sigmoid network a gradient is of the order of $10^{-850}$. No floating
    dtype holds that number; a float32 mantissa and an int32 exponent do.

    Attributes:
      mantissa: floating array of any shape.
      exponent: int32 scalar, shared by all elements.
    """

    mantissa: Array
    exponent: Array


def normalized(x: Array) -> Scaled:
    r"""Takes a power of two out of an array, so that the largest magnitude is near 1.

    Multiplication by a power of two is exact: nothing is lost but what lies below the smallest
    normal number once the largest magnitude is in [1, 2).

    Args:
      x: bfloat16, float16, float32 or float64 array of any shape.

    Returns:
      `Scaled` of the same dtype. The exponent is 0 where the array has nothing but zeros and
      subnormal numbers; an infinity or NaN stays one.

    Raises:
      TypeError: if x has another dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> mantissa, exponent = normalized(jnp.array([3.0, -12.0]))
      >>> print(mantissa, exponent)
      [ 0.375 -1.5  ] 3
    """
    if x.dtype.name not in _UNSIGNED:
        raise TypeError(must("x", f"be one of {', '.join(_UNSIGNED)}", x.dtype.name))
    largest = jnp.max(jnp.abs(x), initial=jnp.zeros((), x.dtype))
    form = jnp.finfo(x.dtype)
    # The bits of the exponent alone are the power of two below. XLA repeats this arithmetic
    # for every element that it scales, and three integer operations it can afford; frexp not.
    power = lax.bitcast_convert_type(largest, _UNSIGNED[x.dtype.name]) >> form.nmant
    exponent = power.astype(jnp.int32) + (form.minexp - 1)
    # 2^-exponent has to be a normal number too; a zero, an infinity and a NaN are left alone.
    scalable = (exponent >= form.minexp) & (exponent < form.maxexp)
    exponent = jnp.where(scalable, jnp.minimum(exponent, -form.minexp), 0)
    return Scaled(x * _power_of_two(-exponent, x.dtype), exponent)


_UNSIGNED = {
    "bfloat16": jnp.uint16,
    "float16": jnp.uint16,
    "float32": jnp.uint32,
    "float64": jnp.uint64,
}


def _power_of_two(exponent: Array, dtype: jnp.dtype) -> Array:
    """2^exponent, a normal number of the dtype: the exponent's bits, and a mantissa of zeros."""
    form = jnp.finfo(dtype)
    biased = (exponent + (1 - form.minexp)).astype(_UNSIGNED[dtype.name])
    return lax.bitcast_convert_type(biased << form.nmant, dtype)


def safe_norm(tree: Any) -> Array:
    r"""The 2-norm of all elements of a pytree, whose squares may leave the dtype's range.

    The plain $\sqrt{\sum x^2}$ is 0 in float32 as soon as every element is below $10^{-23}$,
    and infinite above $10^{19}$. Here each leaf is scaled by a power of two before it is
    squared, and only the result is scaled back. The gradient at 0, where there is none, is 0.

    Args:
      tree: pytree of numbers and arrays, real or complex. `None` and the gradients of integers
        (dtype `float0`) have no elements.

    Returns:
      float64 scalar if a leaf is float64 or complex128, else float32; 0 for an empty tree.

    Raises:
      TypeError: if a leaf holds no numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.full(4, 1e-30)
      >>> print(jnp.linalg.norm(x), safe_norm(x))
      0.0 2e-30
    """
    leaves = [part for leaf in jax.tree.leaves(tree) for part in _real_parts(leaf)]
    if not leaves:
        return jnp.zeros((), jnp.float32)
    wide = any(leaf.dtype == jnp.float64 for leaf in leaves)
    dtype = jnp.dtype(jnp.float64 if wide else jnp.float32)  # a 16-bit sum loses small terms
    scaled = [normalized(leaf.astype(dtype)) for leaf in leaves]
    exponents = jnp.stack([leaf.exponent for leaf in scaled])
    squares = jnp.stack([jnp.sum(jnp.square(leaf.mantissa)) for leaf in scaled])
    # A leaf of zeros has exponent 0 and must not set the scale of the others.
    some = squares != 0
    highest = jnp.max(exponents, where=some, initial=jnp.iinfo(jnp.int32).min)
    highest = jnp.where(jnp.any(some), highest, 0)
    # Below the smallest normal number a leaf is nothing beside the largest, whose square is >= 1.
    below = jnp.clip(2 * (exponents - highest), jnp.finfo(dtype).minexp, 0)
    square = jnp.sum(squares * _power_of_two(below, dtype))
    # The inner choice keeps 0 out of the root, whose derivative there is infinite.
    root = jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
    return root * _power_of_two(highest, dtype)


def _real_parts(leaf: Any) -> list[Array]:
    """A leaf as floating arrays: a complex one as its two parts, one without elements as none."""
    array = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    if array.dtype == jax.dtypes.float0:
        return []
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == jnp.bool_):
        got = f"dtype {array.dtype.name}" if array is leaf else repr(leaf)
        raise TypeError(must("tree", "hold numbers", got, of="sigjax.probe.safe_norm"))
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        return [*_real_parts(array.real), *_real_parts(array.imag)]
    # By name, so that NumPy's byte order does not matter; large integers are not cut to 32 bits.
    narrow = array.dtype.name in ("bfloat16", "float16", "float32")
    return [jnp.asarray(array, array.dtype.name if narrow else float)]
