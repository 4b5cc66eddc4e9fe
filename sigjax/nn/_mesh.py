"""States on a mesh of devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Carry = Any


def settled(carry: Carry, step: Callable[[Carry], Carry], *others: Any) -> Carry:
    """A first state that is sharded, and varies over devices, as the states after it do.

    On explicit axes of a mesh, and inside `jax.shard_map`, both are part of an array's type, and a
    loop's state must keep its type: zeros that every device has are none of a batch that is
    divided among them.

    Args:
      carry: the state.
      step: from a state to the next.
      others: what else the step depends on.
    """
    leaves = jax.tree.leaves((carry, others))
    if all(jax.typeof(leaf).sharding.mesh.empty for leaf in leaves):
        return carry
    for _ in jax.tree.leaves(carry):  # each round settles at least one part
        # Only its type is used, so that the step is never computed.
        carry = jax.tree.map(lambda part, new: part + jnp.zeros_like(new), carry, step(carry))
    return carry
