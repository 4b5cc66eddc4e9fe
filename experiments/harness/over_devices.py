"""One function over many seeds, repeats or starts, shared out over every device there is."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_AXIS = "seed"


def over_devices(
    function: Callable[..., Any], *arguments: Any, in_axes: Any = 0, one_by_one: bool = False
) -> Any:
    """`function` on every slice of its arguments, each device working on slices of its own.

    The axis is sharded over a mesh of all devices of all processes. Slices do not depend on each
    other, so nothing is reduced across devices: with `one_by_one` the results are the same to
    the last bit on any number of devices; under `vmap` they may differ in the last bits, since
    wider matrix products round differently. An axis that the devices do not divide is padded
    with copies of its last slice, which are dropped again.

    Args:
      function: of one slice of each argument, to a tree of arrays.
      arguments: trees of arrays, the same on every process.
      in_axes: which axes are sliced, as for `jax.vmap`; trees of them made of tuples.
      one_by_one: a device takes its slices one after the other (`lax.map`), not side by side
        (`vmap`): for functions that fill a device by themselves. Slices leading axes only.

    Returns:
      The tree of results as NumPy arrays with the axis in front, whole on every process.
    """
    if one_by_one and in_axes != 0:
        raise ValueError(f"one_by_one slices every argument's leading axis, got in_axes={in_axes}")
    devices = _devices()
    if devices == 1:
        program = _program(function, in_axes, one_by_one, None)
        return jax.tree.map(np.asarray, program(*arguments))
    axes = jax.tree.broadcast(in_axes, arguments, is_leaf=_is_none)
    sizes = {
        leaf.shape[axis]
        for leaf, axis in zip(*map(_leaves, (arguments, axes)), strict=True)
        if axis is not None
    }
    if len(sizes) != 1:
        raise ValueError(f"arguments must have one size along what is sliced, got {sorted(sizes)}")
    (count,) = sizes
    mesh = jax.make_mesh((devices,), (_AXIS,), (jax.sharding.AxisType.Auto,))
    place = functools.partial(_placed, missing=-count % devices, mesh=mesh)
    program = _program(function, in_axes, one_by_one, mesh)
    found = program(*jax.tree.map(place, arguments, axes))
    whole = multihost_utils.process_allgather(found, tiled=True)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], whole)


# One program for each function: callers that pass the same one again do not compile again.
@functools.lru_cache(maxsize=16)
def _program(
    function: Callable[..., Any], in_axes: Any, one_by_one: bool, mesh: Mesh | None
) -> Callable[..., Any]:
    batched = (
        functools.partial(_one_by_one, function) if one_by_one else jax.vmap(function, in_axes)
    )
    if mesh is None:
        return jax.jit(batched)
    specs = jax.tree.map(_spec, in_axes, is_leaf=_is_none)
    over_seeds = PartitionSpec(_AXIS)
    return jax.jit(
        jax.shard_map(batched, mesh=mesh, in_specs=specs, out_specs=over_seeds, check_vma=False)
    )


def _one_by_one(function: Callable[..., Any], *slices: Any) -> Any:
    return lax.map(lambda one: function(*one), slices)


def _devices() -> int:
    """How many there are to share out over."""
    return jax.device_count()


def _is_none(axis: int | None) -> bool:
    return axis is None


def _leaves(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=_is_none)


def _spec(axis: int | None) -> PartitionSpec:
    return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, _AXIS)


def _placed(leaf: Array, axis: int | None, *, missing: int, mesh: Mesh) -> Array:
    """A leaf, with `missing` more slices along the axis, each device holding its own part."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        bits = _placed(jax.random.key_data(leaf), axis, missing=missing, mesh=mesh)
        return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    if axis is not None and missing:
        last = np.take(whole, [-1], axis)
        whole = np.concatenate([whole, np.repeat(last, missing, axis)], axis)
    sharding = NamedSharding(mesh, _spec(axis))
    return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)
