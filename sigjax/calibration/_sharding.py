"""Arrays on a mesh whose axes are explicit."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec


def on_explicit_meshes(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's results, on every device, of arguments sharded in any way.

    On a mesh with explicit axes each operation must say how it shards what it gives; here the
    compiler decides, as on other meshes.
    """
    for array in jax.tree.leaves(arguments):
        mesh = jax.typeof(array).sharding.mesh
        if mesh.explicit_axes:
            with jax.sharding.use_abstract_mesh(mesh):
                automatic = jax.sharding.auto_axes(function, out_sharding=PartitionSpec())
                return automatic(*arguments)
    return function(*arguments)
