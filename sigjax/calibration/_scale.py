"""A power of two that brings numbers near 1 and takes no digit from them."""

import jax.numpy as jnp
from jax import Array, lax


def power_of_two(largest: Array) -> Array:
    """The power of two that takes a number above 0 into [1/2, 1); a constant in derivatives.

    Numbers that are infinite, NaN or so small that the power overflows get one that is finite.
    """
    limits = jnp.finfo(largest.dtype)
    exponent = jnp.frexp(lax.stop_gradient(largest))[1]
    bounded = jnp.clip(exponent, limits.minexp + 1, -limits.minexp)
    return jnp.ldexp(jnp.ones_like(largest), -bounded)
