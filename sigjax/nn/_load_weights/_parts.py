"""What a variable is made of, and the layers whose variables are the same in all frameworks."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from flax import nnx
from jax import Array

Layout = Literal["linen", "nnx", "torch", "equinox"]
LAYOUTS = get_args(Layout)
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # of the weights that are given, by name


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A variable, or nothing, and the weights it is made of.

    Attributes:
      variable: the `nnx.Variable` that is written; None if the module has no place for the weights.
      sources: their names, and the shapes they must have.
      make: from the weights, in the order of their names, to the variable's value.
      remedy: of what has no place.
    """

    variable: Any
    sources: Mapping[str, Shape]
    make: Callable[..., Array] = lambda weight: weight
    remedy: str = ""


class Unknown(Exception):
    """A module, or an arrangement of layers, that a layout has no names for."""


def linear(layer: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Of a product with a kernel, whose transpose torch and Equinox keep."""
    transposed = layout in ("torch", "equinox")
    name = f"{path}weight" if transposed else f"{path}kernel"
    shape = tuple(reversed(layer.kernel.shape)) if transposed else layer.kernel.shape
    # A convolution of one pixel is a product, too.
    pixels = (1,) * (len(given.get(name, shape)) - len(shape))
    shape_there = (*shape, *pixels) if transposed else (*pixels, *shape)

    def make(weight: Array) -> Array:
        weight = weight.reshape(shape)
        return weight.T if transposed else weight

    yield Part(layer.kernel, {name: shape_there}, make)
    bias = layer.bias
    shape_of_bias = layer.kernel.shape[-1:] if bias is None else bias.shape
    yield Part(bias, {f"{path}bias": shape_of_bias}, remedy="there is no bias, see 'use_bias'")


def norm(norm: Any, layout: Layout, path: str) -> Iterator[Part]:
    """Of a batch or layer normalisation."""
    names = {"scale": "scale", "bias": "bias", "mean": "mean", "var": "var"}
    if layout in ("torch", "equinox"):
        names |= {"scale": "weight", "mean": "running_mean", "var": "running_var"}
    if layout == "equinox" and isinstance(norm, nnx.BatchNorm):
        raise Unknown("Equinox keeps the statistics of batch normalisation outside of its modules")
    for ours, theirs in names.items():
        variable = getattr(norm, ours, None)
        if variable is not None:
            yield Part(variable, {f"{path}{theirs}": variable.shape})


def under(given: Shapes, path: str) -> list[str]:
    """The names that start with `path`."""
    return [name for name in given if name.startswith(path)]
