"""Normalisations of pre-activations, as they are at initialisation: gain 1, offset 0."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

# Keeps the quotient finite where a batch or layer is constant; flax's default.
_EPSILON = 1e-5


def _standardized(z: Array, axis: int) -> Array:
    centred = z - jnp.mean(z, axis, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis, keepdims=True)
    return centred * lax.rsqrt(variance + _EPSILON)


def no_norm(z: Array) -> Array:
    """The pre-activations as they are."""
    return z


def batch_norm(z: Array) -> Array:
    """Every unit standardised over the batch; `z` is `[batch, units]`."""
    return _standardized(z, 0)


def layer_norm(z: Array) -> Array:
    """Every example standardised over its units; `z` is `[batch, units]`."""
    return _standardized(z, 1)


NORMS: dict[str, Callable[[Array], Array]] = {
    "none": no_norm,
    "batch": batch_norm,
    "layer": layer_norm,
}
