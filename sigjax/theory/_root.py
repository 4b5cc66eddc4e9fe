"""Derivatives of what an iteration has found."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

# Each doubles the orders of derivative that are right: 1 and 2 give 3.
_STEPS = 2
# Where a residual is flatter than this, its root does not depend smoothly on anything.
FLAT = 1e-6


def with_derivatives(residual: Callable[[Array], Array], root: Array) -> Array:
    r"""The root $x$ of $F(x, \theta) = 0$, with its derivatives by $\theta$ up to the third order.

    Newton's step from a constant near the root has an error of second order in the distance, so
    its first derivative is that of the implicit function theorem; another step makes it fourth.
    (`lax.custom_root` is the same to every order, but jax 0.12 expands it after the precision of
    the caller is back.)

    Args:
      residual: differentiable, of a scalar; may refer to what is differentiated by.
      root: where it is 0, to rounding.

    Returns:
      The root; a constant where the residual has no slope.
    """
    root = lax.stop_gradient(root)
    for _ in range(_STEPS):
        value, slope = jax.jvp(residual, (root,), (jnp.ones_like(root),))
        flat = jnp.abs(slope) <= FLAT
        root = root - jnp.where(flat, 0.0, value / jnp.where(flat, 1.0, slope))
    return root
