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
    """

    kind: str
    fan_in: int
    stack: int
    operation: Operation | None


def use_of(flat: Flat, parameter: int) -> Use:
    """How a parameter is used first; a product or a look-up counts before anything else."""
    seen, waiting = {parameter}, [(parameter, 0)]
    other = ""
    while waiting:
        value, depth = waiting.pop(0)
        for user in flat.users[value]:
            kind = _USES.get(user.name)
            if kind == "kernel":
                return Use(kind, _fan_in(flat, user, value), depth, user)
            if kind == "table" and user.inputs[0] == value:
                return Use(kind, 0, depth, user)
            other = other or (kind or "")
            if user.name in _CARRY:
                sliced = user.name == "slice" and user.key in flat.loops
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += [(v, depth + sliced) for v in new]
    return Use("" if other == "table" else other, 0, 0, None)


def _fan_in(flat: Flat, product: Operation, kernel: int) -> int:
    shape = flat.avals[kernel].shape
    side = product.inputs.index(kernel)
    if product.name == "conv_general_dilated":
        outputs = product.eqn.params["dimension_numbers"].rhs_spec[0]
        return math.prod(shape) // shape[outputs]
    if "dimension_numbers" not in product.eqn.params:
        return int(shape[-2]) if len(shape) > 1 else 0
    numbers = product.eqn.params["dimension_numbers"]
    contracted = numbers[0][side] if isinstance(numbers, tuple) else None
    return math.prod(shape[axis] for axis in contracted) if contracted is not None else shape[-2]
