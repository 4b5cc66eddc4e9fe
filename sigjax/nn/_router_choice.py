"""Which experts a token goes to."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._router_dispatch import dispatch

# A group's score is the sum of its two best experts' (DeepSeek-V3, section 2.1.2, and its code).
_BEST_OF_A_GROUP = 2
# Factors of capacity are numbers as 1.25 or 1.1: taken as fractions they are exact.
_LARGEST_DENOMINATOR = 1000


def largest(scores: Array, count: int, *, num_groups: int, groups_per_token: int) -> Array:
    """The experts with the largest scores, `[..., count]`; of equal ones the first.

    Args:
      scores: `[..., num_experts]`.
      num_groups: into how many groups of neighbours the experts are divided.
      groups_per_token: from how many of them a token's experts may come.
    """
    if groups_per_token < num_groups:
        scores = _within_groups(scores, num_groups, groups_per_token)
    return lax.top_k(scores, count)[1]


def _within_groups(scores: Array, num_groups: int, groups_per_token: int) -> Array:
    """The scores, lowest where the group is not among the best."""
    *tokens, num_experts = scores.shape
    of_groups = scores.reshape(*tokens, num_groups, num_experts // num_groups)
    best, _ = lax.top_k(of_groups, min(_BEST_OF_A_GROUP, of_groups.shape[-1]))
    _, groups = lax.top_k(jnp.sum(best, axis=-1), groups_per_token)
    is_kept = jnp.any(jax.nn.one_hot(groups, num_groups, dtype=jnp.bool_), axis=-2)
    lowest = float(jnp.finfo(scores.dtype).min)
    return jnp.where(is_kept[..., None], of_groups, lowest).reshape(scores.shape)


def have_place(experts: Array, num_experts: int, capacity_factor: float) -> Array:
    """Whether a choice is among the first of its expert, as many as there are places.

    An expert has `capacity_factor` times its share of all choices, rounded up. All tokens' first
    choices come before all second ones, each in the order of the tokens.

    Args:
      experts: `[..., k]`; `num_experts` for none.
    """
    k = experts.shape[-1]
    factor = Fraction(capacity_factor).limit_denominator(_LARGEST_DENOMINATOR)
    share = factor * k / num_experts
    capacity = -(-math.prod(experts.shape[:-1]) * share.numerator // share.denominator)
    by_rank = jnp.moveaxis(experts, -1, 0)
    plan = dispatch(by_rank, num_experts)
    first_rows = jnp.cumsum(plan.group_sizes, dtype=jnp.int32) - plan.group_sizes
    place = plan.places - jnp.take(first_rows, by_rank, mode="clip")
    return jnp.moveaxis(place < capacity, 0, -1)
