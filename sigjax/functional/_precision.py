"""The precision in which a function is computed before it is rounded once to its result's."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from ._exponentials import as_normal
from ._messages import must

# The smallest subnormal float32 is two to the power of this.
_SMALLEST_FLOAT32_EXPONENT = -149

Kernel = Callable[[Array], Array]


def computed_in(dtype: DTypeLike) -> DTypeLike:
    """What sums, gates and losses are computed in: float64 stays, narrower becomes float32."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def round_once(kernel: Kernel, x: Array, *, faithful: bool = False) -> Array:
    r"""Evaluates `kernel` in a wider type than `x`'s where there is one to be had.

    * 16-bit and narrower: in float32. An error of $u$ ulp there is one of $u/2^{13}$ ulp
      (float16) or $u/2^{16}$ ulp (bfloat16) before the only rounding.
    * float32: in float32, or in float64 if `faithful`. The float64 operations are traced as
      such whether or not `jax_enable_x64` is set, so the caller's configuration is left alone.
    * float64: as it is.
    """
    dtype = x.dtype
    if dtype == jnp.float64:
        return kernel(x)
    if dtype == jnp.float32:
        if not faithful:
            return kernel(x)
        with jax.enable_x64(True):
            return lax.convert_element_type(kernel(_to_float64(x)), jnp.float32)
    return lax.convert_element_type(kernel(lax.convert_element_type(x, jnp.float32)), dtype)


def _to_float64(x: Array) -> Array:
    """Widens float32, subnormal numbers included, which XLA's conversion flushes on a CPU."""
    normal, exponent = as_normal(jnp.abs(x))
    scale = jnp.where(exponent < 0, 2.0**_SMALLEST_FLOAT32_EXPONENT, 1.0)
    size = lax.convert_element_type(normal, jnp.float64) * scale.astype(jnp.float64)
    return jnp.copysign(size, lax.convert_element_type(x, jnp.float64))


def round_once_joint(function: Callable[..., Array], *arrays: Array) -> Array:
    """Evaluates a differentiable function of arrays of one dtype: 16-bit in float32, as above."""
    dtype = arrays[0].dtype
    if dtype in (jnp.float32, jnp.float64):
        return function(*arrays)
    return function(*(array.astype(jnp.float32) for array in arrays)).astype(dtype)


def refuse_faithful_float64(function: str, x: Array) -> None:
    """Raises ValueError: no JAX type is wider than float64, so nothing can be promised there."""
    if x.dtype == jnp.float64:
        raise ValueError(
            must(
                "faithful",
                "be False for float64, as no type is wider",
                "True",
                of=f"sigjax.{function}",
            )
        )
