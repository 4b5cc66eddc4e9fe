"""Which keys a query may see: those of an interval, less those that a mask hides."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Sight(NamedTuple):
    """What bounds the sight of each query.

    Attributes:
      first, last: of the keys that it may see, int32, broadcastable to `[B, 1, T, 1]`; there is
        none if the last comes before the first. None where nothing but the keys' ends bounds it.
      mask: bool, broadcastable to `[B, N, T, S]`, or None.
    """

    first: Array | None
    last: Array | None
    mask: Array | None


def sight(
    queries: int,
    keys: int,
    mask: Array | None,
    is_causal: bool,
    query_lengths: Array | None,
    key_lengths: Array | None,
    window: tuple[int, int] | None,
) -> Sight:
    """Puts together what `jax.nn.dot_product_attention` takes one by one."""
    position = jnp.arange(queries, dtype=jnp.int32)[None, None, :, None]
    first, ends = None, []
    if is_causal:
        ends.append(position)
    if window is not None:
        left, right = window
        first = jnp.maximum(position - left, 0)
        ends.append(position + right)
    if key_lengths is not None:
        ends.append(key_lengths[:, None, None, None] - 1)
    if query_lengths is not None:  # a query of the padding sees nothing
        present = position < query_lengths[:, None, None, None]
        ends.append(present.astype(jnp.int32) * keys - 1)
    last = None
    for end in ends:
        last = jnp.minimum(jnp.int32(keys - 1) if last is None else last, end)
    return Sight(first, last, mask)


def seen(bounds: Sight, keys: Array) -> Array | None:
    """Which of the keys, positions along the last axis, are seen; None if all are."""
    conditions = []
    if bounds.first is not None:
        conditions.append(keys >= bounds.first)
    if bounds.last is not None:
        conditions.append(keys <= bounds.last)
    if bounds.mask is not None:
        conditions.append(bounds.mask)
    found = None
    for condition in conditions:
        found = condition if found is None else found & condition
    return found
