"""Layers without names of their own, which are told by their numbers."""

import dataclasses
import re
import types
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from .._mlp import MLP
from ._parts import Layout, Part, Shape, Shapes, Unknown, linear, norm, under


@dataclasses.dataclass(frozen=True)
class _Slice:
    """A variable of one layer of a stack."""

    whole: nnx.Variable
    shape: Shape


def numbered_network(network: MLP, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """The linear layers in the order of their numbers, and the normalisations in that of theirs."""
    first, stack = network.first, network.stack
    depth = 1 if stack is None else 1 + stack.linear.kernel.shape[0]
    linears = numbered(given, path, depth + 1, "linear layers")
    yield from linear(first.linear, layout, given, linears[0])
    yield from linear(network.last, layout, given, linears[-1])
    if stack is not None:
        one = _slice(stack.linear, ("kernel", "bias"))
        yield from _stacked([linear(one, layout, given, name) for name in linears[1:-1]])
    if first.norm is None:
        return
    norms = numbered(given, path, depth, "normalisations")
    yield from norm(first.norm, layout, norms[0])
    if stack is not None:
        one = _slice(stack.norm, ("scale", "bias", "mean", "var"))
        yield from _stacked([norm(one, layout, name) for name in norms[1:]])


def _slice(stack: Any, names: Sequence[str]) -> Any:
    variables = {name: getattr(stack, name, None) for name in names}
    return types.SimpleNamespace(
        **{n: None if v is None else _Slice(v, v.shape[1:]) for n, v in variables.items()}
    )


def _stacked(layers: Sequence[Iterator[Part]]) -> Iterator[Part]:
    """One part for all that the layers of a stack have of a variable."""
    for of_layers in zip(*layers, strict=True):
        part: Any = of_layers[0]
        yield dataclasses.replace(
            part,
            variable=getattr(part.variable, "whole", None),
            sources={name: shape for p in of_layers for name, shape in p.sources.items()},
            make=lambda *weights, make=part.make: jnp.stack([make(w) for w in weights]),
        )


def numbered(given: Shapes, path: str, count: int, kind: str) -> list[str]:
    """Beginnings of the names of all linear layers or of all normalisations, by their numbers."""
    products = {
        name.rpartition(".")[0]
        for name, shape in given.items()
        if len(shape) >= 2 and name.endswith((".weight", ".kernel"))
    }
    layers = {name.rpartition(".")[0] for name in under(given, path)}
    layers = layers & products if kind == "linear layers" else layers - products
    numbers = {layer: re.findall(r"\d+", layer.removeprefix(path)) for layer in layers}
    found = sorted((layer for layer in layers if numbers[layer]), key=lambda n: int(numbers[n][-1]))
    alike = {re.sub(r"\d+(?=\D*$)", "", layer) for layer in found}
    if len(found) != count or len(alike) > 1:
        raise Unknown(f"there must be {count} {kind}, told by a number in their names, got {found}")
    return [f"{layer}." for layer in found]
