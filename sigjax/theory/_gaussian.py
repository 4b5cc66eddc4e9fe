"""Expectations over standard normal variables."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..functional._arguments import check_functions, check_integers

# The normal density at 9 is 1e-18: nothing beyond it is seen in float64.
_REACH = 9.0
NODES = 1 << 13
# Hermite functions of degree 192 oscillate with a wavelength of 0.45: 25 nodes of these.
DEGREES = 192
COARSE_NODES = 1 << 10


def normal_nodes(count: int) -> tuple[Array, Array]:
    """Points on the line and their probabilities, `[count]` each, of the default dtype."""
    z, probability = _midpoints(count)
    return jnp.asarray(z, float), jnp.asarray(probability, float)


def _midpoints(count: int) -> tuple[np.ndarray, np.ndarray]:
    z = 2 * _REACH / count * (np.arange(count) - (count - 1) / 2)
    density = np.exp(-np.square(z) / 2)
    return z, density / density.sum()


def gaussian_expectation(function: Callable[[Array], Array], *, nodes: int = NODES) -> Array:
    r"""$\int f(z)\, e^{-z^2/2} / \sqrt{2\pi}\, dz$ by the midpoint rule.

    On the whole line the rule converges as $e^{-2\pi d/h}$ for an integrand that is analytic
    within $d$ of it, where Gauss-Hermite's with $n$ nodes has $e^{-2d\sqrt{2n}}$: a hundred
    nodes of that miss the $\chi_1$ of a tanh network with $\sigma_w = 4$ by 0.3 %, these by less
    than $10^{-14}$. At a jump of the integrand the error is at most half a step times the
    density: $4 \cdot 10^{-4}$ for each jump of height 1. No node falls on 0, where a ReLU has no
    slope.

    Args:
      function: maps an array of nodes, shape `[nodes]`, to values of shape `[..., nodes]`.
      nodes: how many; an even number.

    Returns:
      Array `[...]` of the default floating dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> print(f"{gaussian_expectation(jnp.square):.5f}")
      1.00000
    """
    check_functions(function=function)
    check_integers(nodes=nodes)
    z, probability = normal_nodes(nodes)
    return jnp.sum(probability * function(z), -1)


def hermite_coefficients(function: Callable[[Array], Array]) -> Array:
    r"""$a_k = \mathrm{E}\, f(z)\, h_k(z)$ for the orthonormal Hermite polynomials.

    For standard normal $z_1, z_2$ of correlation $c$, $\mathrm{E} f(z_1) f(z_2) = \sum_k a_k^2 c^k$
    (Mehler): one vector gives every correlation.

    Args:
      function: maps nodes `[nodes]` to values of the same shape.

    Returns:
      Array `[192]` of the default floating dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> print(hermite_coefficients(jnp.square)[:4].round(4) + 0.0)
      [1.     0.     1.4142 0.    ]
    """
    check_functions(function=function)
    polynomials, z = _weighted_hermite()
    return jnp.asarray(polynomials, float) @ function(jnp.asarray(z, float))


@functools.cache
def _weighted_hermite() -> tuple[np.ndarray, np.ndarray]:
    """Rows $h_k(z)$ times the weight of each node, by the three-term recurrence."""
    z, probability = _midpoints(COARSE_NODES)
    # The weight goes into the first row: h_k alone overflows nothing but says nothing at 9.
    rows = [probability, z * probability]
    for k in range(1, DEGREES - 1):
        rows.append((z * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1))
    return np.stack(rows), z
