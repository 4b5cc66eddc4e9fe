"""A primitive that marks, in a traced program, where a layer begins and what it returns.

A mark is an identity that carries the layer's facts as static parameters. So every trace that JAX
keeps, of an inner `jit`, a loop or a rematerialised block, still has them when it is used again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Primitive
from jax.interpreters import ad, batching, mlir


class Layer(NamedTuple):
    """What is known of a layer when it is called.

    Attributes:
      path: where it is in the model, such as "blocks.2.linear".
      kind: name of its class, or of the operation that uses the parameter.
      shapes: name and shape of each of its own parameters, as the layer saw them.
      is_marked: whether marks tell where its calls begin; else it is one operation.
    """

    path: str
    kind: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    is_marked: bool = True


class Mark(NamedTuple):
    """What an equation marks.

    Attributes:
      layer: the layer.
      side: "input" where a call begins, "output" where it returns.
    """

    layer: Layer
    side: str


_mark = Primitive("sigjax_mark")
_mark.multiple_results = True
_mark.def_impl(lambda *arrays, mark: list(arrays))
_mark.def_abstract_eval(lambda *avals, mark: list(avals))
mlir.register_lowering(_mark, lambda context, *arrays, mark: list(arrays))
batching.primitive_batchers[_mark] = lambda arrays, axes, mark: (
    _mark.bind(*arrays, mark=mark),
    axes,
)
# A derivative of a marked value is no layer's output, so tangents pass without a mark.
ad.primitive_jvps[_mark] = lambda primals, tangents, mark: (
    _mark.bind(*primals, mark=mark),
    list(tangents),
)


def marked(tree: Any, layer: Layer, side: str, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """A pytree with its floating arrays marked; each distinct array is marked once."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=is_leaf)
    distinct = {id(leaf): leaf for leaf in leaves if _is_floating(leaf)}
    if not distinct:
        return tree
    results = _mark.bind(*distinct.values(), mark=Mark(layer, side))
    found: dict[int, Array] = dict(zip(distinct, results, strict=True))
    return jax.tree.unflatten(structure, [found.get(id(leaf), leaf) for leaf in leaves])


def mark_of(eqn: JaxprEqn) -> Mark | None:
    """What an equation marks, if it does."""
    return eqn.params["mark"] if eqn.primitive is _mark else None


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and bool(jnp.issubdtype(leaf.dtype, jnp.floating))
