"""One public function is one compiled call."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*static: str) -> Callable[[F], F]:
    """Compiles a public function, the checks of its arguments included.

    Outside `jit` a call costs what a call of `jax.nn` costs: the function's Python, which checks
    dtypes and shapes, runs once for each shape and never again. Inside another program the
    function is one `jit` equation, whose derivatives JAX traces once however often it occurs.

    Args:
      static: names of the arguments that choose the program: flags, orders, axes.

    Returns:
      A decorator. Arguments that `jit` rejects before our checks run (strings, arrays of objects,
      unhashable static arguments), and objects that become arrays only by their `__jax_array__`,
      are passed to the undecorated function, whose errors name the argument.
    """

    def decorate(function: F) -> F:
        call = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except (TypeError, ValueError):
                pass
            # Outside the except block: the first error is not chained to what is raised here.
            return function(*args, **kwargs)

        return cast(F, public)

    return decorate
