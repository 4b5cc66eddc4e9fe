"""Choices of the largest of several numbers, as a router makes them among experts."""

import math

import jax.numpy as jnp

from ._flat import Flat, Operation
from ._moves import MOVES

_CHOOSE = frozenset(("top_k", "approx_top_k", "argmax", "sort"))
# A bias that balances, a mask of groups.
_SHIFTED = MOVES | {"add", "select_n"}


def choices(flat: Flat) -> dict[int, int]:
    """Among how many alternatives a program chooses, and how often.

    Only numbers that are computed are looked at, not those of the batch or of parameters alone.
    """
    found: dict[int, int] = {}
    for operation in flat.operations:
        if operation.name not in _CHOOSE:
            continue
        value = operation.inputs[0]
        if value is None or not flat.is_computed(value) or value in flat.inputs:
            continue
        aval = flat.avals[value]
        if jnp.issubdtype(aval.dtype, jnp.floating) and aval.shape:
            alternatives = aval.shape[_axis(operation)]
            many = math.prod(flat.avals[operation.outputs[-1]].shape)
            found[alternatives] = max(many, found.get(alternatives, 0))
    return found


def _axis(operation: Operation) -> int:
    params = operation.eqn.params
    for name in ("axis", "dimension", "reduction_dimension"):
        if name in params:
            return int(params[name])
    return int(params["axes"][0])


def is_chosen_from(flat: Flat, value: int) -> bool:
    """Whether the largest of a value's elements are chosen, with whatever was added to them."""
    reached = flat.reached_from([value], _SHIFTED)
    return any(user.name in _CHOOSE for one in reached for user in flat.users[one])
