"""What is measured of attention: sums over a sample of the queries."""

import jax.numpy as jnp
from jax import Array

# A weight above this leaves its logit a slope of less than a hundredth.
_OPEN = 0.99
# Logits that far below the largest are masked; masks in use are -1e9 or lower.
_MASKED = -1e8
# So many queries are looked at; weights are too many to look at all of them.
_QUERIES = 32


def of_softmax(logits: Array) -> Array:
    """Queries that see several keys, those of them that give one key all, and the spread of their
    logits, added up.

    Args:
      logits: `[..., queries, keys]`.

    Returns:
      `[3]`.
    """
    if logits.ndim > 1:
        logits = logits[..., _sampled(logits.shape[-2]), :]
    below = logits - jnp.max(logits, -1, keepdims=True)
    visible = below > _MASKED
    seen = jnp.where(visible, below, 0)
    keys, sums, squared = (
        jnp.sum(x, -1) for x in (visible.astype(jnp.float32), seen, jnp.square(seen))
    )
    weights = jnp.sum(jnp.exp(below), -1)
    some, count = (keys > 1).astype(jnp.float32), jnp.maximum(keys, 1)
    spread = jnp.sqrt(jnp.maximum(squared / count - jnp.square(sums / count), 0))
    sharp = (weights < 1 / _OPEN).astype(jnp.float32)
    parts = jnp.stack([some, some * sharp, some * spread])
    return jnp.sum(parts.reshape(len(parts), -1), -1)


def of_sigmoid(weights: Array, over: tuple[int, ...]) -> Array:
    """The weights, those of them that are next to 1, and the number of those that are not 0, added
    up and multiplied by how many queries stand for one that is looked at.

    Args:
      weights: of pairs of queries and keys.
      over: the axes of the keys.

    Returns:
      `[3]`.
    """
    others = [axis for axis in range(weights.ndim) if axis not in over]
    longest = max(others, key=lambda axis: weights.shape[axis], default=None)
    each = 1.0
    if longest is not None:
        queries = weights.shape[longest]
        chosen = _sampled(queries)
        weights = weights[
            tuple(chosen if axis == longest else slice(None) for axis in range(weights.ndim))
        ]
        each = queries / max(weights.shape[longest], 1)
    is_open, is_seen = weights > _OPEN, weights > 0
    parts = (weights, jnp.where(is_open, weights, 0), is_seen.astype(jnp.float32))
    return each * jnp.stack([jnp.sum(part) for part in parts])


def _sampled(queries: int) -> slice:
    """Every so many, from the middle of the first ones: later queries may see more keys."""
    stride = max(1, -(-queries // _QUERIES))
    return slice((stride - 1) // 2, None, stride)
