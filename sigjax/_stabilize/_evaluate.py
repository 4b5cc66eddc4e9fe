"""A function traced, rewritten and evaluated."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from ._rewrite import Rewriter


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A tree without its arrays.

    Attributes:
      tree: its structure.
      fixed: each leaf that is no array, in a tuple; None for each that is one.
    """

    tree: Any
    fixed: tuple[tuple[Any] | None, ...]

    def fill(self, arrays: Any) -> Any:
        """The tree with these arrays."""
        remaining = iter(arrays)
        leaves = [next(remaining) if leaf is None else leaf[0] for leaf in self.fixed]
        return jax.tree.unflatten(self.tree, leaves)


def take_apart(tree: Any) -> tuple[list[jax.Array], Parts]:
    """The arrays of a tree, and the rest of it."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    fixed = tuple(None if isinstance(leaf, jax.Array) else (leaf,) for leaf in leaves)
    return arrays, Parts(structure, fixed)


def evaluate(
    function: Callable[..., Any], arrays: Any, arguments: Parts
) -> tuple[list[jax.Array], Parts]:
    """Traces a function, rewrites it and evaluates it.

    Args:
      function: the function.
      arrays: the arrays in its arguments.
      arguments: the rest of its arguments `(args, kwargs)`.

    Returns:
      The result, taken apart in the same way.
    """
    results: list[Parts] = []

    def on_arrays(*arrays: jax.Array) -> list[jax.Array]:
        args, kwargs = arguments.fill(arrays)
        computed, rest = take_apart(function(*args, **kwargs))
        results.append(rest)
        return computed

    closed = Rewriter(rewritten).rewrite(jax.make_jaxpr(on_arrays)(*arrays))
    return list(jaxpr_as_fun(closed)(*arrays)), results[-1]


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is to be called while another is traced."""

    def call(*args: Any, **kwargs: Any) -> Any:
        computed, rest = evaluate(function, *take_apart((args, kwargs)))
        return rest.fill(computed)

    return call
