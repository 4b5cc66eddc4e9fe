"""Marks in a traced function that say which layer computed a value."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.extend.core import JaxprEqn

_PREFIX = "sigjax probe "


class Layer(NamedTuple):
    """What a layer looked like while it was called.

    Attributes:
      path: where it is in the model, such as "blocks.2.linear".
      kind: name of its class.
      dtype: of its output.
      shapes: of its own parameters, as the layer saw them.
    """

    path: str
    kind: str
    dtype: str
    shapes: dict[str, tuple[int, ...]]


def is_layer(layer: Layer) -> bool:
    """Whether it has a row: it owns parameters, or is a recurrent cell."""
    return bool(layer.shapes) or layer.kind.endswith("Cell")


_SEEN: contextvars.ContextVar[dict[str, Layer] | None] = contextvars.ContextVar(
    "seen", default=None
)


@contextlib.contextmanager
def watching_layers() -> Iterator[dict[str, Layer]]:
    """Collects the layers that are called, in the order of their first calls."""
    seen: dict[str, Layer] = {}
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def marked(output: Any, layer: Layer) -> Any:
    """The output of a layer with its floating arrays marked, one that is there twice once."""
    seen = _SEEN.get()
    leaves, tree = jax.tree.flatten(output)
    distinct = {id(leaf): leaf for leaf in leaves if _is_floating(leaf)}
    if seen is None or not distinct:
        return output
    first = next(iter(distinct.values()))
    seen[layer.path] = layer._replace(dtype=str(first.dtype))
    marks = dict(zip(distinct, _mark(layer.path)(*distinct.values()), strict=True))
    return jax.tree.unflatten(tree, [marks.get(id(leaf), leaf) for leaf in leaves])


def path_of(eqn: JaxprEqn) -> str | None:
    """The layer that an equation marks the output of, if it does."""
    name = eqn.params.get("name", "")
    # A mark that was differentiated has twice the outputs: its tangents are no layer's output.
    if isinstance(name, str) and name.startswith(_PREFIX) and _is_identity(eqn):
        return name.removeprefix(_PREFIX)
    return None


def _is_identity(eqn: JaxprEqn) -> bool:
    body = eqn.params["jaxpr"].jaxpr
    return not body.eqns and list(body.outvars) == list(body.invars)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and bool(jnp.issubdtype(leaf.dtype, jnp.floating))


@functools.cache
def _mark(path: str) -> Callable[..., tuple[Array, ...]]:
    def identity(*arrays: Array) -> tuple[Array, ...]:
        return arrays

    identity.__name__ = _PREFIX + path
    return jax.jit(identity)


def mark_calls(model: nnx.Module) -> None:
    """Makes every module inside the model, itself left out, mark what its calls return.

    Each gets a subclass of its own class, which Flax's transformations carry along. For a copy of
    the model: the class and one attribute of its modules change.
    """
    for path, module in nnx.iter_modules(model):
        if path and callable(module):
            module.__class__ = _marking(type(module))
            vars(module)[_PATH] = ".".join(map(str, path))


_PATH = "_sigjax_probe_path"


@functools.cache
def _marking(kind: type[nnx.Module]) -> type[nnx.Module]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = kind.__call__(self, *args, **kwargs)
        own = {
            name: jnp.shape(value[...])
            for name, value in vars(self).items()
            if isinstance(value, nnx.Param) and value.get_value() is not None
        }
        return marked(output, Layer(vars(self)[_PATH], kind.__name__, "", own))

    body = {"__call__": __call__, "__module__": kind.__module__}
    metaclass: Any = type(kind)
    return metaclass(kind.__name__, (kind,), body)
