"""A function of several real variables together with all its partial derivatives."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from ..functional._arithmetic import add, multiply

Orders = tuple[int, ...]
Kernel = Callable[..., Array]


@functools.cache
def differentiable(partial: Callable[[Orders], Kernel | None], orders: Orders) -> Kernel:
    r"""Joins the closed forms of all partial derivatives into one differentiable function.

    As for `functional`'s functions of one variable: the derivative by the $k$-th argument is
    the kernel of the next order at the arguments themselves, and automatic differentiation
    never looks inside a kernel. A derivative that is a difference, such as the cross-entropy's
    by its label, is so one kernel, which subtracts before it multiplies; through a chain of
    rules reverse mode would add two rounded terms that cancel.

    Args:
      partial: maps the order of differentiation by each argument to a kernel of all arguments,
        which have one shape and type; None stands for a derivative that is 0 everywhere.
      orders: the orders of the function that is wanted.
    """
    kernel = partial(orders)
    assert kernel is not None  # a caller asks for no function that is 0

    @jax.custom_jvp
    def function(*arguments: Array) -> Array:
        return kernel(*arguments)

    def rule(
        primals: tuple[Array, ...], tangents: tuple[Array | SymbolicZero, ...]
    ) -> tuple[Array, Array]:
        value = function(*primals)
        terms = []
        for position, tangent in enumerate(tangents):
            raised = tuple(n + (i == position) for i, n in enumerate(orders))
            # Most arguments are constants, whose derivatives need not be formed.
            if not isinstance(tangent, SymbolicZero) and partial(raised) is not None:
                terms.append(multiply(differentiable(partial, raised)(*primals), tangent))
        return value, functools.reduce(add, terms) if terms else jnp.zeros_like(value)

    function.defjvp(rule, symbolic_zeros=True)
    return function


def by_tracing(kernel: Kernel, position: int) -> Kernel:
    """The derivative of a smooth kernel by an argument, where no closed form is worth its lines."""

    def derivative(*arguments: Array) -> Array:
        tangents = tuple(jnp.full_like(x, i == position) for i, x in enumerate(arguments))
        return jax.jvp(kernel, arguments, tangents)[1]

    return derivative
