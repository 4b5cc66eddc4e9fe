"""Operations that change no value: those that move elements, and casts between float formats."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

# They only move, repeat or pass on the elements of their first operand: a function of single
# elements gives the same whether it is computed before them or after them.
_MOVES = frozenset(
    [
        "reshape",
        "squeeze",
        "expand_dims",
        "broadcast_in_dim",
        "transpose",
        "rev",
        "slice",
        "dynamic_slice",
        "gather",
        "split",
        "copy",
        "copy_p",
        "sharding_constraint",
        "pvary",
        "stop_gradient",
    ]
)
# Narrower formats than these are chosen for what they do to a value.
_FLOATS = frozenset(map(jnp.dtype, ("bfloat16", "float16", "float32", "float64")))
# From which operand on an operation lays them side by side, or chooses among them.
_JOINS = {"select_n": 1, "concatenate": 0, "stack": 0}


def is_move(eqn: JaxprEqn) -> bool:
    if eqn.primitive.name == "gather":
        # An index out of bounds gives NaN, which every function keeps, or the nearest element.
        fill = eqn.params["fill_value"]
        return fill is None or bool(np.isnan(fill))
    return eqn.primitive.name in _MOVES


def is_cast(eqn: JaxprEqn) -> bool:
    """Whether it rounds a float to another common format, or widens it."""
    atoms: list[Any] = [*eqn.invars, *eqn.outvars]
    return eqn.primitive.name == "convert_element_type" and all(
        atom.aval.dtype in _FLOATS for atom in atoms
    )


def join_operands(eqn: JaxprEqn) -> range:
    """Which operands an operation puts together unchanged; none if it is of another kind."""
    first = _JOINS.get(eqn.primitive.name, len(eqn.invars))
    return range(first, len(eqn.invars))


def chosen(which: Array, branch: int) -> Array:
    """Where `select_n` takes a branch."""
    return lax.eq(which, lax.full_like(which, branch))
