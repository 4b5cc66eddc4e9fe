"""Arithmetic of arrays and numbers in `lax`, for what every call of the family goes through.

Each operator of a JAX array, and each function of `jax.numpy`, is a compiled function of its
own, which JAX traces for every new shape before it traces the one that uses it. The first trace
of a kernel of forty operators takes five times as long as that of the same kernel in `lax`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jax import Array, lax

Operand = Array | float | int


def _in_one_dtype(function: Callable[..., Array]) -> Callable[[Operand, Operand], Array]:
    """Lets one operand be a Python number, which takes the other's dtype."""

    def operation(a: Operand, b: Operand) -> Array:
        if isinstance(a, int | float):
            return function(_number(a, b), b)
        if isinstance(b, int | float):
            return function(a, _number(b, a))
        return function(a, b)

    return operation


def _number(value: float | int, like: Any) -> np.ndarray:
    return np.asarray(value, like.dtype)


add = _in_one_dtype(lax.add)
subtract = _in_one_dtype(lax.sub)
multiply = _in_one_dtype(lax.mul)
divide = _in_one_dtype(lax.div)
minimum = _in_one_dtype(lax.min)
maximum = _in_one_dtype(lax.max)
less = _in_one_dtype(lax.lt)


def choose(condition: Array, yes: Operand, no: Operand, like: Array) -> Array:
    """`yes` where the condition holds, else `no`; both arrays like `like`, or numbers."""
    cases = (lax.full_like(like, v) if isinstance(v, int | float) else v for v in (yes, no))
    return lax.select(condition, *cases)
