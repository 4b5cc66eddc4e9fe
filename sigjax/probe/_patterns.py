"""Activations and attention weights, known by what a program computes."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Literal

from .._jaxpr import CUSTOM_DERIVATIVE, source
from ._flat import Flat, Key, Operation

# What keeps all elements, in other places or formats.
_MOVES = frozenset(
    (
        "convert_element_type", "copy", "reshape", "transpose", "squeeze", "broadcast_in_dim",
        "sigjax_mark", "reduce_precision", "optimization_barrier", "stop_gradient",
    )
)  # fmt: skip
_OUR_SIGMOID = "sigmoid"


@dataclasses.dataclass(frozen=True)
class Activation:
    """A bounded activation or ReLU that is what a layer gives to the next.

    Attributes:
      name: "sigmoid", "tanh" or "relu".
      key: the equation that gives its result.
      value: its argument.
      result: its result.
    """

    name: str
    key: Key
    value: int
    result: int


@dataclasses.dataclass(frozen=True)
class Attention:
    """A softmax over keys whose weights mix computed values.

    Attributes:
      key: the equation whose first operand holds the logits.
      logits: that operand.
    """

    key: Key
    logits: int


def activations(flat: Flat) -> Iterator[Activation]:
    """Every activation that is no gate and no part of another one, such as GELU or SiLU."""
    for operation in flat.operations:
        name, value = _activation(flat, operation)
        if name is None or value is None or len(operation.outputs) != 1:
            continue
        result = operation.outputs[0]
        key = flat.outermost(operation.key, result)
        if key is not None and (name == "relu" or not _is_factor(flat, result)):
            yield Activation(name, key, value, result)


def _activation(flat: Flat, operation: Operation) -> tuple[str | None, int | None]:
    name, inputs = operation.name, operation.inputs
    if name in ("logistic", "tanh"):
        return {"logistic": "sigmoid"}.get(name, name), inputs[0]
    if name == "max" and any(_is_number(operation, i, 0) for i in range(2)):
        return "relu", next((v for v in inputs if v is not None), None)
    if name == "div" and _is_number(operation, 0, 1):
        total = _maker(flat, inputs[1], "add")
        if total is not None and any(_is_number(total, i, 1) for i in range(2)):
            exponential = _maker(
                flat, next((v for v in total.inputs if v is not None), None), "exp"
            )
            if exponential is not None:
                return "sigmoid", exponential.inputs[0]
    if name in CUSTOM_DERIVATIVE and source(operation.eqn).startswith(f"{_OUR_SIGMOID} at "):
        return "sigmoid", inputs[0]
    return None, None


def _maker(flat: Flat, value: int | None, name: str) -> Operation | None:
    maker = flat.makers.get(value) if value is not None else None
    return maker if maker is not None and maker.name == name else None


def _is_number(operation: Operation, position: int, number: int) -> bool:
    atom: Any = operation.eqn.invars[position]
    if not isinstance(atom, Literal):
        return False
    value: Any = atom.val
    return not jnp.shape(value) and bool(value == number)


def _is_factor(flat: Flat, value: int) -> bool:
    """Whether a value is multiplied with another computed one: a gate, or half of a GELU."""
    seen, waiting = {value}, [value]
    while waiting:
        current = waiting.pop()
        for user in flat.users[current]:
            others = [v for v in user.inputs if v is not None and v not in seen]
            if user.name == "mul" and any(flat.is_computed(v) for v in others):
                return True
            # 0.5 (1 + tanh u): still the same activation.
            if user.name in (*_MOVES, "slice", "split", "dynamic_slice") or (
                user.name in ("add", "sub", "mul", "neg") and not others
            ):
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += new
    return False


def attentions(flat: Flat) -> Iterator[Attention]:
    """Every softmax over the last axis whose result weights computed values."""
    for operation in flat.operations:
        if operation.name != "div" or None in operation.inputs:
            continue
        above, below = operation.inputs
        exponential = flat.maker_through(above, _MOVES)
        total = flat.maker_through(below, _MOVES)
        if (
            exponential is None
            or total is None
            or exponential.name != "exp"
            or total.name != "reduce_sum"
            or flat.maker_through(total.inputs[0], _MOVES) is not exponential
        ):
            continue
        logits = exponential.inputs[0]
        assert logits is not None
        last = len(flat.avals[logits].shape) - 1
        if tuple(total.eqn.params["axes"]) != (last,) or not _weights_values(
            flat, operation.outputs[0]
        ):
            continue
        key = flat.outermost(exponential.key, exponential.outputs[0])
        if key is not None:
            yield Attention(key, logits)
            continue
        # Inside a function with a derivative of its own, which is not taken apart.
        key = flat.outermost(operation.key, operation.outputs[0])
        outer = flat.entered.get(key) if key is not None else None
        if key is not None and outer is not None and outer.inputs[0] is not None:
            yield Attention(key, outer.inputs[0])


def _weights_values(flat: Flat, weights: int) -> bool:
    seen, waiting = {weights}, [weights]
    while waiting:
        for user in flat.users[waiting.pop()]:
            if user.name == "dot_general":
                others = [v for v in user.inputs if v is not None and v not in seen]
                return any(flat.is_computed(v) for v in others)
            if user.name in _MOVES or user.name in ("mul", "div", "select_n"):  # dropout
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += new
    return False
