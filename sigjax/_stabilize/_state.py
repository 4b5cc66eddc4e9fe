"""Functions of Flax NNX objects, run as pure ones of their state, which then is brought back."""

import dataclasses
import operator
import sys
from collections.abc import Callable
from typing import Any

import jax

from .._reach import Reach
from ._programs import Programs


def is_graph(thing: Any) -> bool:
    """Whether it is an NNX object, which has state; without importing Flax to find out."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(thing, nnx.Module | nnx.Rngs | nnx.Optimizer)


def has_graphs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    leaves = jax.tree.leaves((args, kwargs), is_leaf=is_graph)
    return any(map(is_graph, leaves))


@dataclasses.dataclass(frozen=True)
class _OfState:
    """Calls a function of objects with their state.

    Attributes:
      structure: of the objects, as `nnx.split` gives it.
      tree: the structure of the arguments, in which the objects are leaves.
      places: which leaves are objects.

    Returns:
      What the function returns, and the new state; None if it is the old one.
    """

    structure: Any
    tree: Any
    places: tuple[bool, ...]

    def __call__(self, function: Callable[..., Any], state: Any, others: list[Any]) -> Any:
        from flax import nnx

        objects = nnx.merge(self.structure, state, copy=True)
        remaining = iter(objects)
        leaves = [
            next(remaining) if here else other
            for here, other in zip(self.places, others, strict=True)
        ]
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        result, new_state = function(*args, **kwargs), nnx.state(objects)
        return result, None if _same(state, new_state) else new_state


def call_with_state(programs: Programs, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from flax import nnx

    leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=is_graph)
    objects = tuple(leaf for leaf in leaves if is_graph(leaf))
    structure, state = nnx.split(objects)
    others = [None if is_graph(leaf) else leaf for leaf in leaves]
    adapter = _OfState(structure, tree, tuple(map(is_graph, leaves)))

    def reached(reach: Reach) -> None:
        reach.add_tree(tree)
        for _, node in nnx.iter_graph(objects):
            # Of what is Flax's and of modules the class, whose methods are called.
            held = node is objects or is_graph(node) or type(node).__module__.startswith("flax.")
            reach.add(type(node) if held else node)

    result, new_state = programs.call(adapter, (state, others), {}, reached)
    if new_state is not None:
        nnx.update(objects, new_state)
    return result


def _same(old: Any, new: Any) -> bool:
    (before, structure), (after, other) = _flatten(old), _flatten(new)
    return structure == other and all(map(operator.is_, before, after))


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    return jax.tree.flatten(tree)
