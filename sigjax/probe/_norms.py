"""Norms that neither underflow nor overflow on the way."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..functional._arguments import check_numbers


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
      x: float32 or float64 array of any shape.

    Returns:
      `Scaled` of the same dtype. The exponent is 0 where the array has nothing but zeros and
      subnormal numbers; an infinity or NaN stays one.

    Example:
      >>> import jax.numpy as jnp
      >>> mantissa, exponent = normalized(jnp.array([3.0, -12.0]))
      >>> print(mantissa, exponent)
      [ 0.375 -1.5  ] 3
    """
    largest = jnp.max(jnp.abs(x), initial=jnp.zeros((), x.dtype))
    form = jnp.finfo(x.dtype)
    # The bits of the exponent alone are the power of two below. XLA repeats this arithmetic
    # for every element that it scales, and three integer operations it can afford; frexp not.
    power = lax.bitcast_convert_type(largest, _UNSIGNED[x.dtype.name]) >> form.nmant
    exponent = power.astype(jnp.int32) + (form.minexp - 1)
    # 2^-exponent has to be a normal number too; a zero, an infinity and a NaN are left alone.
    scalable = (exponent >= form.minexp) & (exponent < form.maxexp)
    exponent = jnp.where(scalable, jnp.minimum(exponent, -form.minexp), 0)
    inverse = (1 - form.minexp - exponent).astype(_UNSIGNED[x.dtype.name]) << form.nmant
    return Scaled(x * lax.bitcast_convert_type(inverse, x.dtype), exponent)


_UNSIGNED = {"float32": jnp.uint32, "float64": jnp.uint64}


def safe_norm(tree: Any) -> Array:
    r"""The 2-norm of all elements of a pytree, whose squares may leave the dtype's range.

    The plain $\sqrt{\sum x^2}$ is 0 in float32 as soon as every element is below $10^{-23}$,
    and infinite above $10^{19}$. Here each leaf is scaled by a power of two before it is
    squared, and only the result is scaled back.

    Args:
      tree: pytree of floating arrays.

    Returns:
      float64 scalar if a leaf is float64, else float32; 0 for an empty tree.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.full(4, 1e-30)
      >>> print(jnp.linalg.norm(x), safe_norm(x))
      0.0 2e-30
    """
    for leaf in jax.tree.leaves(tree):
        check_numbers(tree=leaf)
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    if not leaves:
        return jnp.zeros(())
    wide = any(leaf.dtype == jnp.float64 for leaf in leaves)
    dtype = jnp.float64 if wide else jnp.float32  # a 16-bit sum loses its small terms
    scaled = [normalized(leaf.astype(dtype)) for leaf in leaves]
    exponents = jnp.stack([leaf.exponent for leaf in scaled])
    norms = jnp.stack([jnp.sqrt(jnp.sum(jnp.square(leaf.mantissa))) for leaf in scaled])
    # A leaf of zeros has exponent 0 and must not set the scale of the others.
    highest = jnp.max(jnp.where(norms > 0, exponents, jnp.iinfo(jnp.int32).min))
    highest = jnp.where(jnp.any(norms > 0), highest, 0)
    together = jnp.sqrt(jnp.sum(jnp.square(jnp.ldexp(norms, exponents - highest))))
    return jnp.ldexp(together, highest)
