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

# Queries and keys of a block. Of 128 to 512 by 128 to 1024, the fastest on two CPU cores for
# [1, 1024, 8, 64] and [1, 4096, 8, 64] in float32, forward and backward.
LARGEST = (512, 256)

Pairs = dict[str, Array]  # arrays that broadcast to a block of queries and keys


def attend(
    query: Array, key: Array, value: Array, bounds: Sight, terms: Pairs, precision: Precision
) -> Array:
    """The sum over keys of their weights and values, for every query.

    Args:
      query: `[B, T, N, H]`, scaled, in the dtype of the sums, as all others are.
      key, value: `[B, S, K, H]`.
      bounds: of the queries' sight.
      terms: what is added to the logits, each broadcastable to `[B, N, T, S]`; minus the logarithm
        of the number of keys in sight unless a `logit_bias` is among them.
      precision: of the products.

    Returns:
      `[B, T, N, H]`.
    """
    form, key, value = layout(query, key, value, LARGEST)
    pairs, positions = _laid_out(form, key.shape[1], bounds, terms)
    of_all_queries, of_a_block = _split(pairs)
    # Skipping is a branch that each device would take for itself, and devices in different branches
    # could wait for each other for ever. So only without a mesh.
    may_skip = bounds.last is not None and jax.typeof(query).sharding.mesh.empty

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def block_of_queries(_: None, given: tuple[Array, Pairs]) -> tuple[None, Array]:
        query, of_queries = given
        of_all_keys, of_keys = _split({**of_all_queries, **of_queries})

        @functools.partial(jax.checkpoint, prevent_cse=False)
        def block_of_keys(total: Array, given: Any) -> tuple[Array, None]:
            key, value, position, of_keys = given
            pairs = {**of_all_keys, **of_keys}

            def added(total: Array) -> Array:
                found = _weights(form, query, key, position, pairs, precision)
                return total + _product("bdkqs,bdksh->bdkqh", found, value, precision)

            if not may_skip:
                return added(total), None
            return lax.cond(_reached(pairs, position), added, lambda total: total, total), None

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
    padded = count * size > keys  # the padding is not seen
    if bounds.last is None and (padded or bounds.mask is not None):
        bounds = bounds._replace(last=jnp.full((1, 1, 1, 1), keys - 1, jnp.int32))
    arrays = {name: x for name, x in bounds._asdict().items() if x is not None} | terms
    positions = jnp.arange(count * size, dtype=jnp.int32).reshape(count, size)
    pairs = {name: form.of_pairs(x) for name, x in arrays.items()}
    if "logit_bias" not in terms:
        n = jnp.maximum(_number_seen(pairs, positions, keys), 1).astype(form.dtype)
        logarithm = jnp.log(n)
        # The rounded logarithm l is up to 5e-7 off in float32 at n = 3,000, an error of all weights
        # alike. What it lacks, log n - l, is n e^-l - 1 to first order; its negative is added to
        # the logits first, while they are small.
        pairs |= {"rest": 1 - n * jnp.exp(-logarithm), "logit_bias": -logarithm}
    return pairs, positions


def _number_seen(pairs: Pairs, positions: Array, keys: int) -> Array:
    """How many keys each query sees, `[blocks, 1, B, D, K, G, size, 1]`, or fewer of them."""
    if "mask" not in pairs:
        last = pairs.get("last", jnp.full((1,) * 8, keys - 1, jnp.int32))
        return jnp.maximum(last - pairs.get("first", jnp.zeros_like(last)) + 1, 0)
    sight = {name: x for name, x in pairs.items() if name in Sight._fields}
    of_all_queries, of_a_block = _split(sight)

    def of_queries(given: Pairs) -> Array:
        of_all_keys, of_keys = _split({**of_all_queries, **given})

        def of_block(given: tuple[Array, Pairs]) -> Array:
            visible = _seen({**of_all_keys, **given[1]}, given[0])
            assert visible is not None  # there is a mask
            return jnp.sum(visible, axis=-1, keepdims=True, dtype=jnp.int32)

        return jnp.sum(lax.map(of_block, (positions, of_keys)), axis=0)

    counts = lax.map(of_queries, of_a_block) if of_a_block else of_queries({})[None]
    return jnp.expand_dims(counts, 1)


def _seen(pairs: Pairs, position: Array) -> Array | None:
    """Which keys of a block its queries see; None if all."""
    bounds = Sight(*(pairs.get(name) for name in Sight._fields))
    return seen(bounds, position.reshape(1, 1, 1, 1, 1, -1))


def _split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Those that all blocks of a loop share, without its axis, and the others."""
    shared = {name: jnp.squeeze(x, 0) for name, x in pairs.items() if x.shape[0] == 1}
    return shared, {name: x for name, x in pairs.items() if name not in shared}


def _reached(pairs: Pairs, position: Array) -> Array:
    """Whether any query of a block sees so far as to this block of keys, or so far back."""
    reached = jnp.max(pairs["last"]) >= position[0]
    first = pairs.get("first")
    return reached if first is None else reached & (jnp.min(first) <= position[-1])


def _weights(
    form: Layout, query: Array, key: Array, position: Array, pairs: Pairs, precision: Precision
) -> Array:
    """The weights of a block, `[B, D, K, G * queries, keys]`; 0 where nothing is seen."""
    logits = form.by_groups(_product("bdkqh,bdksh->bdkqs", query, key, precision))
    for name, term in pairs.items():
        if name not in Sight._fields:
            logits = logits + term
    found = SIGMOID(logits)
    visible = _seen(pairs, position)
    if visible is not None:
        # Of the very sharding that the weights have, which a choice asks for.
        visible = jnp.zeros_like(found, dtype=bool) | visible
        found = lax.select(visible, found, jnp.zeros_like(found))
    return form.joined_groups(found)


def _product(form: str, x: Array, y: Array, precision: Precision) -> Array:
    return jnp.einsum(form, x, y, precision=precision)
