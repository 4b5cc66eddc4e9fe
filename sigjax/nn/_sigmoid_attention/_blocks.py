"""Sums over keys of sigmoid weights and values, a block of queries and keys at a time.

A sigmoid needs no sum over the others, so what a block of keys gives is final: blocks are added,
with no running maximum and nothing rescaled. Each block is a checkpoint of automatic
differentiation: of the loops only their inputs are kept, the weights are computed again where a
derivative of any order or direction needs them, and memory is linear in the lengths.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from ...functional._sigmoid import SIGMOID
from .._mesh import settled
from .._products import Precision
from ._layout import Layout, layout
from ._sight import Sight, seen

# Queries and keys of a block.
LARGEST = (256, 512)

Pairs = dict[str, Array]  # arrays that broadcast to a block of queries and keys


def attend(
    query: Array, key: Array, value: Array, bounds: Sight, terms: Pairs, precision: Precision
) -> Array:
    """The sum over keys of their weights and values, for every query.

    Args:
      query: `[B, T, N, H]`, scaled, in the dtype of the sums, as all others are.
      key, value: `[B, S, K, H]`.
      bounds: of the queries' sight.
      terms: what is added to the logits, each broadcastable to `[B, N, T, S]`.
      precision: of the products.

    Returns:
      `[B, T, N, H]`.
    """
    form, key, value = layout(query, key, value, LARGEST)
    pairs, positions = _laid_out(form, key.shape[1], bounds, terms)
    of_all_queries, of_a_block = _split(pairs)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block_of_queries(_: None, given: tuple[Array, Pairs]) -> tuple[None, Array]:
        query, of_queries = given
        of_all_keys, of_keys = _split({**of_all_queries, **of_queries})

        @functools.partial(jax.checkpoint, prevent_cse=False)
        def block_of_keys(total: Array, given: Any) -> tuple[Array, None]:
            key, value, position, of_keys = given
            found = _weights(form, query, key, position, {**of_all_keys, **of_keys}, precision)
            return total + _product("bdkqs,bdksh->bdkqh", found, value, precision), None

        over_keys = (keys, values, positions, of_keys)
        first = settled(
            jnp.zeros_like(query),
            lambda total: block_of_keys(total, jax.tree.map(lambda x: x[0], over_keys))[0],
            query, keys, values, pairs,
        )  # fmt: skip
        return None, lax.scan(block_of_keys, first, over_keys)[0]

    keys, values = form.of_keys(key), form.of_keys(value)
    _, blocks = lax.scan(block_of_queries, None, (form.of_queries(query), of_a_block))
    return form.of_outputs(blocks)


def weights(query: Array, key: Array, bounds: Sight, terms: Pairs, precision: Precision) -> Array:
    """The weights of all pairs, `[B, N, T, S]`, in one block; arguments as for `attend`."""
    form, key, _ = layout(query, key, key, (query.shape[1], key.shape[1]))
    pairs, position = _laid_out(form, key.shape[1], bounds, terms)
    of_all = {name: array[0, 0] for name, array in pairs.items()}
    found = _weights(form, form.of_queries(query)[0], form.of_keys(key)[0], position[0], of_all,
                     precision)  # fmt: skip
    return form.of_weights(found)


def _laid_out(form: Layout, keys: int, bounds: Sight, terms: Pairs) -> tuple[Pairs, Array]:
    """What bounds sight and what is added to logits, in blocks, and the positions of the keys."""
    count, size = form.key_blocks
    if bounds.last is None and count * size > keys:  # the padding is not seen
        bounds = bounds._replace(last=jnp.full((1, 1, 1, 1), keys - 1, jnp.int32))
    arrays = {name: x for name, x in bounds._asdict().items() if x is not None} | terms
    positions = jnp.arange(count * size, dtype=jnp.int32).reshape(count, size)
    return {name: form.of_pairs(x) for name, x in arrays.items()}, positions


def _split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Those that all blocks of a loop share, without its axis, and the others."""
    shared = {name: jnp.squeeze(x, 0) for name, x in pairs.items() if x.shape[0] == 1}
    return shared, {name: x for name, x in pairs.items() if name not in shared}


def _weights(
    form: Layout, query: Array, key: Array, position: Array, pairs: Pairs, precision: Precision
) -> Array:
    """The weights of a block, `[B, D, K, G * queries, keys]`; 0 where nothing is seen."""
    logits = form.by_groups(_product("bdkqh,bdksh->bdkqs", query, key, precision))
    for name, term in pairs.items():
        if name not in Sight._fields:
            logits = logits + term
    found = SIGMOID(logits)
    bounds = Sight(*(pairs.get(name) for name in Sight._fields))
    visible = seen(bounds, position.reshape(1, 1, 1, 1, 1, -1))
    if visible is not None:
        # Of the very sharding that the weights have, which a choice asks for.
        visible = jnp.zeros_like(found, dtype=bool) | visible
        found = lax.select(visible, found, jnp.zeros_like(found))
    return form.joined_groups(found)


def _product(form: str, x: Array, y: Array, precision: Precision) -> Array:
    return jnp.einsum(form, x, y, precision=precision)
