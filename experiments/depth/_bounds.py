"""The chain of slopes and weight norms that no gradient can exceed."""

import functools

import jax
import jax.numpy as jnp
from jax import Array


@functools.partial(jax.jit, static_argnames="iterations")
def spectral_norm_from_below(matrices: Array, *, iterations: int = 30) -> Array:
    r"""Largest singular values by power iteration: never above the true ones but for rounding.

    A bound built on them is at least as strict as the one with the exact norms. After 30
    iterations a random matrix's is within 2 %.

    Args:
      matrices: `[..., n, n]`.
      iterations: multiplications with $W^\top W$.

    Returns:
      `[...]` of the same dtype.
    """

    def step(_: int, v: Array) -> Array:
        v = jnp.matvec(jnp.matrix_transpose(matrices), jnp.matvec(matrices, v))
        return v / jnp.linalg.norm(v, axis=-1, keepdims=True)

    # Any start without special direction will do; a fixed one makes the bound reproducible.
    start = jax.random.normal(jax.random.key(0), matrices.shape[:-1], matrices.dtype)
    start /= jnp.linalg.norm(start, axis=-1, keepdims=True)
    v = jax.lax.fori_loop(0, iterations, step, start)
    return jnp.linalg.norm(jnp.matvec(matrices, v), axis=-1)
