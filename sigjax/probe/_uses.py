"""What a parameter does in a program."""

import math
from typing import NamedTuple

from ._flat import Flat, Operation

# A parameter may be moved, cast or taken from a stack before it is used.
_CARRY = frozenset(
    (
        "convert_element_type", "copy", "reshape", "transpose", "squeeze", "broadcast_in_dim",
        "slice", "dynamic_slice", "sigjax_mark", "join", "reduce_precision", "expand_dims", "rev",
        "stop_gradient", "optimization_barrier", "pvary", "sharding_constraint", "mesh_cast",
    )
)  # fmt: skip
_USES = {
    "dot_general": "kernel",
    "ragged_dot": "kernel",
    "ragged_dot_general": "kernel",
    "conv_general_dilated": "kernel",
    "gather": "table",
    "mul": "scale",
    "div": "scale",
    "add": "bias",
    "sub": "bias",
    "add_any": "bias",
}


class Use(NamedTuple):
    """How a parameter is used.

    Attributes:
      kind: "kernel" of a product, "table" that is looked up, "scale", "bias"; "" for others.
      fan_in: how many products an output of a kernel adds up; 0 for others.
      stack: how many of its leading axes loops over layers go through.
      operation: the first product or look-up.
      is_stacked: whether the axis behind those goes through kernels, of heads or experts.
    """

    kind: str
    fan_in: int
    stack: int
    operation: Operation | None
    is_stacked: bool = False


def use_of(flat: Flat, parameter: int) -> Use:
    """How a parameter is used first; a product or a look-up counts before anything else."""
    seen, waiting = {parameter}, [(parameter, 0)]
    other = ""
    while waiting:
        value, depth = waiting.pop(0)
        for user in flat.users[value]:
            kind = _USES.get(user.name)
            if kind == "kernel":
                stacked = _is_stacked(flat, parameter, depth, user, value)
                return Use(kind, _fan_in(flat, user, value), depth, user, stacked)
            if kind == "table" and user.inputs[0] == value:
                stacked = _is_stacked(flat, parameter, depth, user, value)
                return Use(kind, 0, depth, user, stacked)
            other = other or (kind or "")
            if user.name in _CARRY:
                sliced = user.name == "slice" and user.key in flat.loops
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += [(v, depth + sliced) for v in new]
    return Use("" if other == "table" else other, 0, 0, None)


# Axes of a kernel: what it takes and what it gives.
_KERNEL = 2


def _is_stacked(flat: Flat, parameter: int, depth: int, user: Operation, value: int) -> bool:
    shape = flat.avals[parameter].shape[depth:]
    if len(shape) <= _KERNEL or user.name == "conv_general_dilated":
        return False
    if flat.avals[value].shape != shape:  # one of them was taken out
        return len(flat.avals[value].shape) < len(shape)
    if user.name == "gather":
        return 0 in user.eqn.params["dimension_numbers"].start_index_map
    return 0 not in _contracted(user, user.inputs.index(value))


def _contracted(product: Operation, side: int) -> tuple[int, ...]:
    params = product.eqn.params
    numbers = params.get("dimension_numbers")
    if numbers is None:
        numbers = params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    return tuple(numbers[0][side])


def _fan_in(flat: Flat, product: Operation, kernel: int) -> int:
    shape = flat.avals[kernel].shape
    side = product.inputs.index(kernel)
    if product.name == "conv_general_dilated":
        outputs = product.eqn.params["dimension_numbers"].rhs_spec[0]
        return math.prod(shape) // shape[outputs]
    return math.prod(shape[axis] for axis in _contracted(product, side))
