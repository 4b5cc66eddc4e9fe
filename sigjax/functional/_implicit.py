"""Derivatives of what an iteration has found."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

# Each step squares the error: after one the first derivative is right, after two all to the third.
_STEPS = 2
# Where a residual is flatter than this, its root does not depend smoothly on anything.
FLAT = 1e-6


def with_derivatives(
    residual: Callable[[Array], Array],
    root: Array,
    *,
    flat: float = FLAT,
    reach: ArrayLike | None = None,
) -> Array:
    r"""The root $x$ of $F(x, \theta) = 0$, with its derivatives by $\theta$ up to the third order.

    Newton's step from a constant near the root has an error of second order in the distance, so
    its first derivative is that of the implicit function theorem; another step makes it fourth.
    (`lax.custom_root` is the same to every order, but jax 0.12 expands it after the precision of
    the caller is back.)

    Args:
      residual: differentiable, elementwise; may refer to what is differentiated by.
      root: where it is 0, to rounding.
      flat: a slope that counts as none.
      reach: how far a step may go; a longer one is rounding of a flat residual.

    Returns:
      The root; a constant where the residual has no slope or a step would go too far.
    """
    root = lax.stop_gradient(root)
    for _ in range(_STEPS):
        value, slope = jax.jvp(residual, (root,), (jnp.ones_like(root),))
        level = jnp.abs(slope) <= flat
        step = value / jnp.where(level, 1, slope)
        if reach is not None:
            level |= ~(lax.stop_gradient(jnp.abs(step)) < reach)
        root = root - jnp.where(level, 0, step)
    return root
