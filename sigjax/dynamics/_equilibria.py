"""Where a flow stands still, and what small deviations do there."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Equilibria(NamedTuple):
    """All equilibria, in the order of the first coordinate; NaN where there are fewer.

    Attributes:
      states: `[..., most, variables]`.
      exists: `[..., most]`.
      stable: `[..., most]`, whether every small deviation decays.
    """

    states: Array
    exists: Array
    stable: Array


@functools.partial(jnp.vectorize, signature="(2,2)->(2)")
def eigenvalues(matrix: Array) -> Array:
    """Both, complex, of a real 2 x 2 matrix, the one of larger real part first."""
    (a, b), (c, d) = matrix
    half = lax.complex((a + d) / 2, jnp.zeros_like(a))
    root = jnp.sqrt(lax.complex(((a - d) / 2) ** 2 + b * c, jnp.zeros_like(a)))
    return jnp.stack([half + root, half - root])
