"""Queries and keys in blocks, on any mesh.

A loop over blocks must not run along an axis that is divided among devices. So divided queries get
an axis of their own for the devices' shards, and every block holds a part of each shard. Keys are
given whole to all devices, in one exchange before the loop; their gradients are summed in one
exchange after it.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Axes = Any  # what a PartitionSpec has for one dimension
Shape = tuple[Any, ...]  # of integers, and symbols where one is exported


class Blocks(NamedTuple):
    """How a length is divided: the last block is padded."""

    number: int
    size: int


def blocks_of(length: int, largest: int) -> Blocks:
    """As few blocks as there may be, and of these the smallest."""
    count = max(-(-length // largest), 1)
    return Blocks(count, -(-length // count))


class Layout(NamedTuple):
    """Of the arrays of one call.

    Attributes:
      batch, queries, heads, groups: $B$, $T$, $K$ and $G$; there are $KG$ heads of queries.
      features: $H$.
      query_blocks, key_blocks: of each shard of the queries, and of the keys.
      mesh: of explicit axes, or None.
      batch_axes, query_axes, head_axes: of the mesh, by which the dimensions are divided.
      shards: $D$, of the queries.
      dtype: of the sums.
    """

    batch: Any
    queries: int
    heads: int
    groups: int
    features: int
    query_blocks: Blocks
    key_blocks: Blocks
    mesh: Any
    batch_axes: Axes
    query_axes: Axes
    head_axes: Axes
    shards: int
    dtype: Any

    def of_queries(self, x: Array) -> Array:
        """`[B, T, N, H]` to `[blocks, B, D, K, G * size, H]`."""
        count, size = self.query_blocks
        x = self._placed(x, self.batch_axes, self.query_axes, self.head_axes)
        at = (self.batch_axes, self.query_axes, None, self.head_axes)
        of_shard = self.queries // self.shards
        shape: Shape = (self.batch, self.shards, of_shard, self.heads, self.groups, self.features)
        x = _padded(self._reshaped(x, shape, *at), 2, count * size)
        shape = (*shape[:2], count, size, *shape[3:])
        x = self._reshaped(x, shape, *at[:2], None, None, self.head_axes)
        x = x.transpose(2, 0, 1, 4, 5, 3, 6)
        shape = (count, self.batch, self.shards, self.heads, self.groups * size, self.features)
        return self._reshaped(x, shape, None, *at[:2], self.head_axes)

    def of_outputs(self, blocks: Array) -> Array:
        """What `of_queries` was given, from blocks of it."""
        count, size = self.query_blocks
        at = (self.batch_axes, self.query_axes)
        of_shard = self.queries // self.shards
        shape: Shape = (
            count,
            self.batch,
            self.shards,
            self.heads,
            self.groups,
            size,
            self.features,
        )
        x = self._reshaped(blocks, shape, None, *at, self.head_axes)
        x = x.transpose(1, 2, 0, 5, 3, 4, 6)
        shape = (*x.shape[:2], count * size, *x.shape[4:])
        x = self._reshaped(x, shape, *at, None, self.head_axes)[:, :, :of_shard]
        shape = (self.batch, self.queries, self.heads * self.groups, self.features)
        return self._reshaped(x, shape, *at, self.head_axes)

    def of_keys(self, x: Array) -> Array:
        """`[B, S, K, H]` to `[blocks, B, D, K, size, H]`."""
        count, size = self.key_blocks
        x = self._placed(x, self.batch_axes, None, self.head_axes)
        x = _padded(x, 1, count * size)
        shape: Shape = (self.batch, count, size, self.heads, self.features)
        x = self._reshaped(x, shape, self.batch_axes, None, None, self.head_axes)
        x = x.transpose(1, 0, 3, 2, 4)
        shape = (count, self.batch, self.shards, self.heads, size, self.features)
        at = self._sharding(None, self.batch_axes, self.query_axes, self.head_axes)
        return lax.broadcast_in_dim(x, shape, (0, 1, 3, 4, 5), out_sharding=at)

    def of_pairs(self, x: Array) -> Array:
        """What broadcasts to `[B, N, T, S]` to `[blocks, blocks, B, D, K, G, size, size]`.

        Dimensions of 1 stay 1, and so do the numbers of their blocks.
        """
        batch, heads, queries, keys = x.shape
        at_batch = None if batch == 1 else self.batch_axes
        at_heads = None if heads == 1 else self.head_axes
        at_queries = None if queries == 1 else self.query_axes
        of_heads = (1, 1) if heads == 1 else (self.heads, self.groups)
        shards = 1 if queries == 1 else self.shards
        of_queries = Blocks(1, 1) if queries == 1 else self.query_blocks
        of_keys = Blocks(1, 1) if keys == 1 else self.key_blocks
        x = self._placed(x, at_batch, at_heads, at_queries)
        shape = (batch, *of_heads, shards, queries // shards, keys)
        at = (at_batch, at_heads, None, at_queries)
        x = self._reshaped(x, shape, *at)
        x = _padded(_padded(x, 4, math.prod(of_queries)), 5, math.prod(of_keys))
        x = self._reshaped(x, (*shape[:4], *of_queries, *of_keys), *at)
        return x.transpose(4, 6, 0, 3, 1, 2, 5, 7)

    def by_groups(self, x: Array) -> Array:
        """`[B, D, K, G * queries, keys]` of a block to `[B, D, K, G, queries, keys]`."""
        shape = (*x.shape[:3], self.groups, self.query_blocks.size, x.shape[-1])
        return self._reshaped(x, shape, self.batch_axes, self.query_axes, self.head_axes)

    def joined_groups(self, x: Array) -> Array:
        """The inverse of `by_groups`."""
        shape = (*x.shape[:3], self.groups * self.query_blocks.size, x.shape[-1])
        return self._reshaped(x, shape, self.batch_axes, self.query_axes, self.head_axes)

    def of_weights(self, x: Array) -> Array:
        """`[B, D, K, G * queries, keys]` of the only block to `[B, N, T, S]`."""
        at = (self.batch_axes, self.head_axes)
        x = self.by_groups(x).transpose(0, 2, 3, 1, 4, 5)
        shape = (self.batch, self.heads * self.groups, self.queries, x.shape[-1])
        return self._reshaped(x, shape, *at, self.query_axes)

    def _sharding(self, *axes: Axes) -> NamedSharding | None:
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(*axes))

    def _placed(self, x: Array, *axes: Axes) -> Array:
        sharding = self._sharding(*axes)
        return x if sharding is None else jax.sharding.reshard(x, sharding)

    def _reshaped(self, x: Array, shape: Shape, *axes: Axes) -> Array:
        return lax.reshape(x, shape, out_sharding=self._sharding(*axes))


def layout(
    query: Array, key: Array, value: Array, largest: tuple[int, int]
) -> tuple[Layout, Array, Array]:
    """How a call's arrays are laid out, and its keys and values.

    Args:
      query: `[B, T, N, H]`.
      key, value: `[B, S, K, H]`.
      largest: queries and keys of a block, at most; where a block has fewer queries, it may have
        more keys, up to the same number of pairs.

    Returns:
      The layout; keys and values, repeated for each head of queries if the heads of keys cannot be
      divided equally among the devices that heads are divided among.
    """
    batch, queries, heads, features = query.shape
    mesh, batch_axes, query_axes, head_axes = _places(query, key, value)
    if key.shape[2] % _devices(mesh, head_axes):
        key, value = (jnp.repeat(x, heads // x.shape[2], axis=2) for x in (key, value))
    shards = _devices(mesh, query_axes)
    query_blocks = blocks_of(queries // shards, largest[0])
    most_keys = math.prod(largest) // max(query_blocks.size, 1)
    return (
        Layout(
            batch, queries, key.shape[2], heads // key.shape[2], features,
            query_blocks, blocks_of(key.shape[1], most_keys),
            mesh, batch_axes, query_axes, head_axes, shards, query.dtype,
        ),
        key,
        value,
    )  # fmt: skip


def _places(*arrays: Array) -> tuple[Any, Axes, Axes, Axes]:
    """The mesh, and the axes by which batch, queries and heads are divided on it.

    The axes that divide the first array decide. Where it is not divided by batch or by heads, those
    of another array are taken, if they divide nothing yet.
    """
    shardings = [jax.typeof(array).sharding for array in arrays]
    meshes = [s.mesh for s in shardings if AxisType.Explicit in s.mesh.axis_types]
    if not meshes:
        return None, None, None, None
    specs = [(*s.spec, *(None,) * (4 - len(s.spec))) for s in shardings]
    chosen = {0: specs[0][0], 1: specs[0][1], 2: specs[0][2]}
    for spec in specs[1:]:
        for dimension in (0, 2):
            taken = {name for axes in chosen.values() for name in _names(axes)}
            if chosen[dimension] is None and not taken & set(_names(spec[dimension])):
                chosen[dimension] = spec[dimension]
    return meshes[0], chosen[0], chosen[1], chosen[2]


def _names(axes: Axes) -> tuple[str, ...]:
    return () if axes is None else axes if isinstance(axes, tuple) else (axes,)


def _devices(mesh: Any, axes: Axes) -> int:
    return math.prod(mesh.shape[name] for name in _names(axes))


def _padded(x: Array, axis: int, length: int) -> Array:
    """Zeros, or False, at the end of an axis, so that it has this length."""
    missing = length - x.shape[axis]
    if not missing:
        return x
    return jnp.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
