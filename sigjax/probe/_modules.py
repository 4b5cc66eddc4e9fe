"""Marks in the calls of NNX modules."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx

from ._mark import Layer, marked

_PATH = "_sigjax_probe_path"


def is_layer(layer: Layer) -> bool:
    """Whether it has a row: it owns parameters, or is a recurrent cell."""
    return bool(layer.shapes) or layer.kind.endswith("Cell")


def mark_calls(model: nnx.Module) -> None:
    """Makes every module inside the model, itself left out, mark its calls.

    Each gets a subclass of its own class, which Flax's transformations carry along. For a copy of
    the model: the class and one attribute of its modules change.
    """
    for path, module in nnx.iter_modules(model):
        if path and callable(module):
            module.__class__ = _marking(type(module))
            vars(module)[_PATH] = ".".join(map(str, path))


@functools.cache
def _marking(kind: type[nnx.Module]) -> type[nnx.Module]:
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        shapes = tuple(
            (name, jnp.shape(value[...]))
            for name, value in vars(self).items()
            if isinstance(value, nnx.Param) and value.get_value() is not None
        )
        layer = Layer(vars(self)[_PATH], kind.__name__, shapes)
        if not is_layer(layer):
            return kind.__call__(self, *args, **kwargs)
        args, kwargs = marked((args, kwargs), layer, "input", is_leaf=_is_flax)
        return marked(kind.__call__(self, *args, **kwargs), layer, "output", is_leaf=_is_flax)

    body = {"__call__": __call__, "__module__": kind.__module__}
    metaclass: Any = type(kind)
    return metaclass(kind.__name__, (kind,), body)


def _is_flax(value: Any) -> bool:
    return isinstance(value, nnx.Module | nnx.Variable | nnx.Rngs | nnx.RngStream)
