"""Which equations of a program give a layer's output, and which layer each parameter belongs to."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ._flat import Flat, Key
from ._mark import Layer, mark_of
from ._uses import Use


class Layers(NamedTuple):
    """The layers of a program.

    Attributes:
      outputs: for each equation that gives a layer's output, the layer.
      owners: for each parameter the layer that it belongs to.
    """

    outputs: Mapping[Key, Layer]
    owners: Sequence[str]


def marked_layers(flat: Flat, names: Sequence[str], wanted: Callable[[Layer], bool]) -> Layers:
    """Layers whose calls are marked; a parameter belongs to the module that holds it."""
    found = {}
    for operation in flat.operations:
        mark = mark_of(operation.eqn)
        if mark is not None and mark.side == "output" and wanted(mark.layer):
            found[operation.key] = mark.layer
    return Layers(found, [name.rpartition(".")[0] for name in names])


def operation_layers(flat: Flat, names: Sequence[str], uses: Sequence[Use]) -> Layers:
    """Products and look-ups with a parameter.

    Such a layer has the name of the part of the tree that holds the parameter if it holds no other
    of that kind, as in `{"linear": {"w": ..., "b": ...}}`; else the name of the parameter.
    """
    parents = [name.rpartition(".")[0] for name in names]
    main = [use.operation is not None for use in uses]
    count: dict[str, int] = {}
    for parent, is_main in zip(parents, main, strict=True):
        count[parent] = count.get(parent, 0) + is_main
    owners = [
        parent if parent and count[parent] <= 1 else name
        for name, parent in zip(names, parents, strict=True)
    ]
    found: dict[Key, Layer] = {}
    for owner, use in zip(owners, uses, strict=True):
        if use.operation is not None:
            layer = Layer(owner, use.operation.name, (), is_marked=False)
            key = flat.outermost(use.operation.key, use.operation.outputs[0])
            found.update({use.operation.key if key is None else key: layer})
    return Layers(found, owners)
