"""Expectations over a standard normal variable."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

# The normal density at 9 is 1e-18: nothing beyond it is seen in float64.
_REACH = 9.0
_NODES = 1 << 15


def gaussian_expectation(function: Callable[[Array], Array]) -> Array:
    r"""$\int f(z)\, e^{-z^2/2} / \sqrt{2\pi}\, dz$ by the midpoint rule.

    On the whole line the rule converges faster than any power of its step for a smooth
    integrand, and like Gauss-Hermite's it needs no more than some dozens of nodes. Its dense
    nodes are there for what Gauss-Hermite does badly: a kink (ReLU, hard tanh), where the error
    is at most step times density, $2 \cdot 10^{-4}$, and a steep sigmoid. No node falls on 0,
    where a ReLU has no slope.

    Args:
      function: maps an array of nodes, shape `[nodes]`, to values of the same shape.

    Returns:
      Scalar of the default floating dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> print(f"{gaussian_expectation(jnp.square):.5f}")
      1.00000
    """
    step = 2 * _REACH / _NODES
    z = step * (jnp.arange(_NODES, dtype=float) - (_NODES - 1) / 2)
    density = jnp.exp(-jnp.square(z) / 2)
    return jnp.sum(density * function(z)) / jnp.sum(density)
