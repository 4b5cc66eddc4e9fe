"""A function of one real variable together with all its derivatives."""

import functools
from collections.abc import Callable

import jax
from jax import Array
from jax.typing import ArrayLike

from ._arguments import as_weak_as, real_floating
from ._precision import Kernel, refuse_faithful_float64, round_once


class Elementwise:
    """Joins the closed forms of $f, f', f'', \\dots$ into one differentiable function.

    Automatic differentiation never looks inside a kernel. The derivative of $f^{(n)}$ is the
    kernel of $f^{(n+1)}$, evaluated at the argument itself, so that no order of derivative is
    formed from rounded values of the order below it: `ans * (1 - ans)` is how `jax.nn` loses
    its gradient. Under `jit` XLA merges what the orders share.

    Args:
      name: the public name, for error messages.
      nth_derivative: maps the order $n$ to a kernel that evaluates $f^{(n)}$ in float32 or
        float64, whichever its argument has.
      argument: the public argument's name, for error messages.
    """

    def __init__(self, name: str, nth_derivative: Callable[[int], Kernel], argument: str = "x"):
        self._name = name
        self._nth_derivative = nth_derivative
        self._argument = argument

    def __call__(self, x: ArrayLike, *, order: int = 0, faithful: bool = False) -> Array:
        array = real_floating(self._name, self._argument, x)
        if faithful:
            refuse_faithful_float64(self._name, array)
        return _differentiable(self._name, self._nth_derivative, order, faithful)(array)


@functools.cache
def _differentiable(
    name: str, nth_derivative: Callable[[int], Kernel], order: int, faithful: bool
) -> Kernel:
    kernel = nth_derivative(order)

    def evaluate(x: Array) -> Array:
        return as_weak_as(x, round_once(kernel, x, faithful=faithful))

    evaluate.__name__ = name + "_prime" * order  # what a printed jaxpr calls it
    function = jax.custom_jvp(evaluate)

    @function.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (x,), (dx,) = primals, tangents
        slope = _differentiable(name, nth_derivative, order + 1, faithful)
        return function(x), slope(x) * dx

    return function
