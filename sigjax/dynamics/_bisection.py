"""Roots that a sign change guarantees."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from ..functional._implicit import with_derivatives


def bisect(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    r"""The root of an elementwise function in `[low, high]`, one for each element.

    Bisected to rounding, then given the derivatives of the implicit function theorem by whatever
    `function` refers to.

    Args:
      function: elementwise, with a sign change in every interval, rising or falling; where there
        is none the result is meaningless.
      low: lower ends.
      high: upper ends.
    """
    low, high = lax.stop_gradient(low), lax.stop_gradient(high)
    rising = function(low) < function(high)

    def halve(_: Array | int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = low + (high - low) / 2
        left = (function(middle) < 0) == rising
        return jnp.where(left, middle, low), jnp.where(left, high, middle)

    digits = jnp.finfo(low.dtype).nmant + 4
    below, above = lax.fori_loop(0, digits, halve, (low, high))
    root = below + (above - below) / 2
    # Rounding of a flat function must not throw a root away.
    reach = lax.stop_gradient(jnp.abs(above - below)) + jnp.sqrt(jnp.finfo(low.dtype).eps)
    return with_derivatives(function, root, flat=0.0, reach=reach)
