"""Sequences of several lengths in one array, `[time, ...]`, padded at the end."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ._recurrence import Carry, aligned


def flipped(sequences: Any, lengths: Array | None) -> Any:
    """Each sequence from its last step to its first; its padding, reversed too, stays behind it."""
    if lengths is None:
        return jax.tree.map(lambda array: jnp.flip(array, 0), sequences)

    def flip(array: Array) -> Array:
        steps = jnp.arange(array.shape[0]).reshape(-1, *(1,) * lengths.ndim)
        # Beyond the length the index wraps around into the padding, as Flax's does.
        source = (lengths - 1 - steps) % array.shape[0]
        return jnp.take_along_axis(array, aligned(source, array), axis=0)

    return jax.tree.map(flip, sequences)


def at_length(first: Carry, states: Carry, lengths: Array) -> Carry:
    """The state after the last step of each sequence, the first state where there is none.

    It has the dtype of the first state; those of the steps may be wider.
    """
    index = jnp.maximum(lengths - 1, 0)[None]

    def pick(first: Array, states: Array) -> Array:
        last = jnp.take_along_axis(states, aligned(index, states), axis=0)[0]
        return jnp.where(aligned(lengths > 0, first), last.astype(first.dtype), first)

    return jax.tree.map(pick, first, states)


def ends(starts: Array, lengths: Array | None) -> Array:
    """Where sequences of the reverse direction start: at the last step before each start.

    Args:
      starts: bool, `[time, ...]`.
      lengths: of the whole, if they are shorter.
    """
    last = jnp.zeros_like(starts[:1])
    found = jnp.concatenate([starts[1:], last])
    if lengths is None:
        return found
    steps = jnp.arange(starts.shape[0]).reshape(-1, *(1,) * lengths.ndim)
    return found & (steps < lengths - 1)  # what the padding starts is no start
