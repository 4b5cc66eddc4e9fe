"""Tokens in the order of their experts, and back."""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._precision import computed_in


class Dispatch(NamedTuple):
    """A permutation of choices that puts those of an expert side by side.

    Attributes:
      order: int32, `[n k]`: the choice that each row is, of the `n` tokens' `k` choices each.
      group_sizes: int32, `[num_experts]`: how many rows each expert has, from the first row on.
      places: int32, `[..., k]`: the row of each choice; beyond all groups if it has no expert.
    """

    order: Array
    group_sizes: Array
    places: Array

    def gather(self, inputs: ArrayLike) -> Array:
        """Rows `[n k, features]`, in the experts' order, of tokens `[..., features]`.

        Those beyond all groups are 0.
        """
        inputs = jnp.asarray(inputs)
        *tokens, k = self.places.shape
        features = inputs.shape[-1]
        # Repeated first, so that no two rows are read from one: the reverse pass then sums over
        # k and moves rows, instead of adding them up where they collide.
        choices = jnp.broadcast_to(inputs[..., None, :], (*tokens, k, features))
        rows = _rows(choices.reshape(-1, features), self.order)
        # What a product makes of rows of no group is up to the backend, in its reverse pass too.
        return jnp.where(
            jnp.arange(rows.shape[0], dtype=jnp.int32)[:, None] < self._grouped(), rows, 0
        )

    def combine(self, rows: ArrayLike, weights: ArrayLike) -> Array:
        """The weighted sum of each token's rows, `[..., features]`, made in float32 at least.

        Args:
          rows: what the experts made of the rows of `gather`, `[n k, features]`; those beyond all
            groups do not count, whatever they hold.
          weights: `[..., k]`.
        """
        rows, weights = jnp.asarray(rows), jnp.asarray(weights)
        wide = computed_in(rows.dtype)
        has_expert = self.places < self._grouped()
        of_choices = jnp.where(has_expert[..., None], _rows(rows, self.places), 0).astype(wide)
        return jnp.sum(of_choices * weights[..., None].astype(wide), axis=-2).astype(rows.dtype)

    def _grouped(self) -> Array:
        """How many rows have an expert."""
        return jnp.sum(self.group_sizes, dtype=jnp.int32)


def dispatch(experts: ArrayLike, num_experts: int) -> Dispatch:
    """Sorts choices by expert, for `jax.lax.ragged_dot` and its like.

    `ragged_dot(rows, kernels, group_sizes)` multiplies the rows of group i by kernel i. Under
    `jax.vmap` it refuses unless rows, kernels and sizes all have the mapped axis, at 0: a layer
    of shared kernels is called with a batch rather than mapped over it; any leading axes will do
    here. On explicit axes of a mesh it wants to be told `out_sharding`.

    Args:
      experts: integers, `[..., k]`, as `Routing.experts`. Those outside `[0, num_experts)` are
        nobody's: on device d of an axis of a mesh that has `num_experts` experts each,
        `experts - d * num_experts` leaves the choices of its own.
      num_experts: how many there are here.

    Returns:
      A `Dispatch`. The order of an expert's rows is that of the tokens.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> plan = dispatch(jnp.array([[2, 0], [0, 1], [2, 3]]), num_experts=3)
      >>> print(plan.group_sizes, plan.order)
      [2 1 2] [1 2 3 0 4 5]
      >>> kernels = jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)  # expert i multiplies by 10^i
      >>> rows = plan.gather(jnp.array([[1.0], [2.0], [3.0]]))
      >>> made = jax.lax.ragged_dot(rows, kernels, plan.group_sizes)
      >>> print(plan.combine(made, jnp.full((3, 2), 0.5)).ravel())
      [ 50.5  11.  150. ]
    """
    experts = jnp.asarray(experts).astype(jnp.int32)
    choices = experts.reshape(-1)
    size = math.prod(experts.shape)
    is_here = (choices >= 0) & (choices < num_experts)
    choices = jnp.where(is_here, choices, num_experts)
    # In `shard_map` the numbers vary over devices as the choices do. JAX's sort, and its argsort,
    # give each result the type of its own operand: of plain numbers the order would pass for the
    # same on every device, and the gradient of the tokens would be one device's.
    rows = jnp.arange(size, dtype=jnp.int32) + jnp.zeros_like(choices)
    _, order = lax.sort((choices, rows), num_keys=1, is_stable=True)
    places = (
        jnp.zeros_like(order).at[order].set(rows, unique_indices=True, mode="promise_in_bounds")
    )
    sizes = jnp.zeros(num_experts + 1, jnp.int32).at[choices].add(1, mode="promise_in_bounds")
    return Dispatch(order, sizes[:-1], places.reshape(experts.shape))


def _rows(array: Array, index: Array) -> Array:
    """Rows by a permutation, which the reverse pass need not add up."""
    return array.at[index].get(unique_indices=True, mode="promise_in_bounds")
