"""Attention, known by what a program computes: weights of pairs of values that mix other values."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from ._flat import Flat, Key, Operation
from ._moves import MOVES
from ._patterns import sigmoid_argument

# On the way from logits to weights or to values: scales, biases, masks, dropout.
_WEIGHED = MOVES | {"mul", "div", "select_n"}
_SHIFTED = _WEIGHED | {"add", "sub", "neg", "max", "min", "clamp"}
# On the way from a product to the sum that a loop carries.
_ADDED = MOVES | {"add", "join"}


class Mixing(NamedTuple):
    """A product that mixes values by weights.

    Attributes:
      operand: which of its operands holds the weights.
      over: the axes of the weights that it sums over.
      queries: how many sums of those there are.
      loops: keys of the loops around it that add up what it gives, block by block.
    """

    operand: int
    over: tuple[int, ...]
    queries: int
    loops: tuple[Key, ...]


class Attention(NamedTuple):
    """Weights of pairs of computed values that mix computed values.

    Attributes:
      name: "softmax" or "sigmoid".
      key: where it is measured: of a softmax the equation whose first operand holds the logits, of
        a sigmoid the product with the values.
      logits: the logits.
      mixing: of a sigmoid what that product is.
      gate: of a sigmoid its result.
    """

    name: str
    key: Key
    logits: int
    mixing: Mixing | None = None
    gate: int = -1


def attentions(flat: Flat) -> Iterator[Attention]:
    """Every softmax over the last axis and every sigmoid of products that weights values."""
    for operation in flat.operations:
        found = _softmax(flat, operation) or _sigmoid(flat, operation)
        if found is not None:
            yield found


def _softmax(flat: Flat, operation: Operation) -> Attention | None:
    if operation.name != "div" or None in operation.inputs:
        return None
    above, below = operation.inputs
    exponential = flat.maker_through(above, MOVES)
    total = flat.maker_through(below, MOVES)
    if (
        exponential is None
        or total is None
        or exponential.name != "exp"
        or total.name != "reduce_sum"
        or flat.maker_through(total.inputs[0], MOVES) is not exponential
    ):
        return None
    logits = exponential.inputs[0]
    assert logits is not None
    last = len(flat.avals[logits].shape) - 1
    mixes = _product_with_values(flat, operation.outputs[0]) is not None
    if tuple(total.eqn.params["axes"]) != (last,) or not mixes:
        return None
    key = flat.outermost(exponential.key, exponential.outputs[0])
    if key is not None:
        return Attention("softmax", key, logits)
    # Inside a function with a derivative of its own, which is not taken apart.
    key = flat.outermost(operation.key, operation.outputs[0])
    outer = flat.entered.get(key) if key is not None else None
    if key is not None and outer is not None and outer.inputs[0] is not None:
        return Attention("softmax", key, outer.inputs[0])
    return None


def _sigmoid(flat: Flat, operation: Operation) -> Attention | None:
    """A sigmoid is measured where it meets the values: masked by then, dropped out or normalised,
    by whatever was put between."""
    logits = sigmoid_argument(flat, operation)
    if logits is None or len(operation.outputs) != 1 or not _is_of_pairs(flat, logits):
        return None
    found = _product_with_values(flat, operation.outputs[0])
    if found is None:
        return None
    product, weights = found
    key = flat.outermost(product.key, product.outputs[0])
    if key != product.key:
        return None
    operand = product.inputs.index(weights)
    over = tuple(product.eqn.params["dimension_numbers"][0][operand])
    shape = flat.avals[weights].shape
    queries = math.prod(shape) // max(math.prod(shape[axis] for axis in over), 1)
    mixing = Mixing(operand, over, queries, _adding_loops(flat, product))
    return Attention("sigmoid", key, logits, mixing, operation.outputs[0])


def _product_with_values(flat: Flat, weights: int) -> tuple[Operation, int] | None:
    """The product of weights and computed values, and the weights as they come there."""
    seen, waiting = {weights}, [weights]
    while waiting:
        current = waiting.pop()
        for user in flat.users[current]:
            if user.name == "dot_general":
                others = [v for v in user.inputs if v is not None and v not in seen]
                return (user, current) if any(map(flat.is_computed, others)) else None
            if user.name == "mul" and any(flat.is_trained(v) for v in user.inputs if v not in seen):
                continue  # a gate, or a SiLU
            if user.name in _WEIGHED:
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += new
    return None


def _is_of_pairs(flat: Flat, logits: int) -> bool:
    """Whether a value is the product of two computed ones, but for scale, bias and mask."""
    makers = map(flat.makers.get, flat.leading_to([logits], _SHIFTED))
    return any(
        maker is not None
        and maker.name == "dot_general"
        and not any(_is_kernel(flat, v) for v in maker.inputs if v is not None)
        for maker in makers
    )


def _is_kernel(flat: Flat, value: int) -> bool:
    """Whether a value is of parameters alone, or looked up among them."""
    maker = flat.maker_through(value, MOVES)
    table = maker.inputs[0] if maker is not None and maker.name == "gather" else value
    return not flat.is_computed(value) or flat.is_parameter(table)


def _adding_loops(flat: Flat, product: Operation) -> tuple[Key, ...]:
    """The loops that carry a sum to which a product is added."""
    sums = flat.reached_from(product.outputs, _ADDED)
    return tuple(
        key
        for key, joints in flat.joints.items()
        if key == product.key[: len(key)] and any(j.inputs[1] in sums for j in joints)
    )
