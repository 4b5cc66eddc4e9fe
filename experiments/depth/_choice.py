"""One of several functions, chosen when the program runs: one program for all of them."""

import functools
from collections.abc import Callable

import jax
from jax import Array, lax

Function = Callable[[Array], Array]


def choice(functions: tuple[Function, ...], index: Array) -> Function:
    """The function of that index, an int32 scalar that may be traced.

    Only the chosen function is evaluated, and for its gradient only its input is kept: left to
    itself JAX would keep what any of the functions might need.
    """
    return functools.partial(_chosen, functions, index)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chosen(functions: tuple[Function, ...], index: Array, x: Array) -> Array:
    return lax.switch(index, functions, x)


def _forward(
    functions: tuple[Function, ...], index: Array, x: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _chosen(functions, index, x), (index, x)


def _backward(
    functions: tuple[Function, ...], kept: tuple[Array, Array], cotangent: Array
) -> tuple[None, Array]:
    pullbacks = [functools.partial(_pulled_back, function) for function in functions]
    return None, lax.switch(kept[0], pullbacks, kept[1], cotangent)


def _pulled_back(function: Function, x: Array, cotangent: Array) -> Array:
    return jax.vjp(function, x)[1](cotangent)[0]


_chosen.defvjp(_forward, _backward)
