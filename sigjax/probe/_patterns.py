"""Activations, known by what a program computes."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Literal

from .._jaxpr import CUSTOM_DERIVATIVE, source
from ._choices import is_chosen_from
from ._flat import Flat, Key, Operation
from ._moves import MOVES

_OUR_SIGMOID = "sigmoid"


@dataclasses.dataclass(frozen=True)
class Activation:
    """A bounded activation or ReLU that is what a layer gives to the next.

    Attributes:
      name: "sigmoid", "tanh" or "relu"; "router" for sigmoids of which the largest are chosen.
      key: the equation that gives its result; of a router its argument, since what is chosen from
        need not have a gradient.
      value: its argument.
      result: its result.
    """

    name: str
    key: Key
    value: int
    result: int


def activations(flat: Flat, besides: Collection[int] = ()) -> Iterator[Activation]:
    """Every activation that is no gate and no part of another one, such as GELU or SiLU.

    Args:
      flat: the program.
      besides: results of others, which are known to be something else.
    """
    for operation in flat.operations:
        name, value = _activation(flat, operation)
        if name is None or value is None or len(operation.outputs) != 1:
            continue
        result = operation.outputs[0]
        key = flat.outermost(operation.key, result)
        if key is None or result in besides:
            continue
        if name == "sigmoid" and is_chosen_from(flat, result):
            made = _where_made(flat, value)
            if made is not None:
                yield Activation("router", made, value, result)
        elif name == "relu" or not _is_factor(flat, result):
            yield Activation(name, key, value, result)


def _where_made(flat: Flat, value: int) -> Key | None:
    """The equation that gives this value and no other."""
    maker = flat.makers.get(value)
    if maker is None or len(maker.outputs) != 1 or maker.name != maker.eqn.primitive.name:
        return None  # an input, or where a body begins or ends
    return flat.outermost(maker.key, value)


def sigmoid_argument(flat: Flat, operation: Operation) -> int | None:
    """What an operation gives the sigmoid of; None if it does not."""
    name, value = _activation(flat, operation)
    return value if name == "sigmoid" else None


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
            if user.name in (*MOVES, "slice", "split", "dynamic_slice") or (
                user.name in ("add", "sub", "mul", "neg") and not others
            ):
                new = [v for v in user.outputs if v not in seen]
                seen.update(new)
                waiting += new
    return False
