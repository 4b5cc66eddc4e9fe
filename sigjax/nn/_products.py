"""Products of activations and kernels, summed in a wide dtype."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

Precision = Any  # whatever `lax.dot_general` takes for it


def dot(x: Array, kernel: Array, precision: Precision, wide: Any) -> Array:
    """`x[..., i]` times `kernel[i, ...]`, made in the kernel's dtype and summed in the wide one."""

    def product(x: Array, kernel: Array) -> Array:
        return lax.dot_general(
            x,
            kernel,
            (((x.ndim - 1,), (0,)), ((), ())),
            precision=precision,
            preferred_element_type=wide,
        )

    x = x.astype(kernel.dtype)
    if kernel.dtype == wide:
        return product(x, kernel)
    # A CPU has no 16-bit products and widens both factors at every step. Widened before, they
    # give the same numbers, since products of 16-bit numbers are exact in float32, and sooner.
    return lax.platform_dependent(
        x, kernel, cpu=lambda *factors: product(*(f.astype(wide) for f in factors)), default=product
    )


def under(x: Array, like: Array) -> Array:
    """`x` with leading axes of size 1, as many axes as `like`: no rank is promoted."""
    return jnp.expand_dims(x, tuple(range(like.ndim - x.ndim)))


def turned(kernel: Array) -> Array:
    """A kernel with its input axis last: what `wide_dot` multiplies by."""
    return jnp.moveaxis(kernel, 0, -1)


def turned_tangent(dkernel: Array) -> Array:
    """The same of a kernel's tangent.

    The barrier is for the reverse pass. Without it XLA swaps the factors of the product that is
    the kernel's gradient, to save turning it, and turns all the activations instead.
    """
    return lax.optimization_barrier(turned(dkernel))


def wide_dot(x: Array, turned_kernel: Array, precision: Precision) -> Array:
    """`x[..., i]` times `turned_kernel[..., i]`, in the dtype that both have.

    The reverse pass transposes it to a product whose factors lie in memory as they are read.
    """
    contracted = (x.ndim - 1,), (turned_kernel.ndim - 1,)
    return lax.dot_general(x, turned_kernel, (contracted, ((), ())), precision=precision)
