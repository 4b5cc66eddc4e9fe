"""How much each of a token's experts counts."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_jvp
def shares(log_affinities: Array) -> Array:
    r"""The softmax over the last axis: affinities over their sum, of their logarithms."""
    largest = jnp.max(log_affinities, axis=-1, keepdims=True)
    relative = jnp.exp(log_affinities - largest)
    return relative / jnp.sum(relative, axis=-1, keepdims=True)


@shares.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    r"""$dw_j = w_j \sum_{i \ne j} w_i (t_j - t_i)$.

    Without the terms of i = j, which cancel: where one share is nearly 1 the rest decides, and
    the usual $w_j (t_j - \sum_i w_i t_i)$ is rounding error. There are k experts, not many, so
    that all pairs cost nothing.
    """
    w = shares(*primals)
    (t,) = tangents
    others = w[..., None, :] * (1 - jnp.eye(w.shape[-1], dtype=w.dtype)).reshape(
        *(1,) * (w.ndim - 1), w.shape[-1], w.shape[-1]
    )
    of_others = jnp.sum(others * t[..., None, :], axis=-1)
    return w, w * (jnp.sum(others, axis=-1) * t - of_others)
