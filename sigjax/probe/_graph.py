"""Which layer comes before which, in the flat program of a loss."""

import dataclasses
from collections.abc import Iterator, Mapping

from ._flat import Flat, Key, Operation
from ._mark import Layer, mark_of

# What is undefined or infinite somewhere, with the words for where.
_DELICATE = {
    "log": "log of 0 or of a negative number",
    "log1p": "log1p of -1 or below",
    "sqrt": "sqrt at 0, whose slope is infinite",
    "rsqrt": "1/sqrt at 0",
    "cbrt": "a cube root at 0",
    "div": "a division by 0",
    "pow": "a power",
    "integer_pow": "a power",
    "exp": "exp of a large number",
    "exp2": "exp2 of a large number",
    "expm1": "expm1 of a large number",
    "acos": "acos at 1",
    "asin": "asin at 1",
    "atanh": "atanh at 1",
    "acosh": "acosh at 1",
    "atan2": "atan2 at 0",
    "erf_inv": "erf_inv at 1",
    "lgamma": "lgamma",
    "digamma": "digamma",
    "cholesky": "a Cholesky factor",
    "eigh": "eigenvectors of equal eigenvalues",
    "triangular_solve": "a singular system",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """One call of a layer.

    Attributes:
      layer: the layer.
      key: where its output is marked.
      before: numbers of the nodes whose output it works on, with no other layer between.
      own: delicate operations of the call itself.
      between: delicate operations between those nodes and this one.
    """

    layer: Layer
    key: Key
    before: tuple[int, ...]
    own: tuple[str, ...]
    between: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls of a program's layers, in its order.

    Attributes:
      nodes: the calls.
      last: numbers of those that the loss works on, with no other layer between.
      after: delicate operations between those and the loss.
    """

    nodes: tuple[Node, ...]
    last: tuple[int, ...]
    after: tuple[str, ...]

    def used(self) -> set[int]:
        """The nodes that the loss depends on."""
        found, waiting = set(self.last), list(self.last)
        while waiting:
            new = set(self.nodes[waiting.pop()].before) - found
            found |= new
            waiting += new
        return found


class Provenance:
    """The layers that a value comes from, with no other layer between.

    Args:
      flat: the program.
      layers: for each equation that gives a layer's output, the layer.

    Attributes:
      outputs: for each node the operation that gives its output.
      layers: the layer of each.
      of: for each value, numbers of nodes.
    """

    def __init__(self, flat: Flat, layers: Mapping[Key, Layer]):
        self.outputs = [operation for operation in flat.operations if operation.key in layers]
        self.layers = [layers[operation.key] for operation in self.outputs]
        numbers = {operation.key: number for number, operation in enumerate(self.outputs)}
        self.of: list[frozenset[int]] = [frozenset()] * len(flat.avals)
        for _ in range(2):  # what a loop carries back is known the second time only
            for operation in flat.operations:
                number = numbers.get(operation.key)
                if number is None:
                    given = [self.of[v] for v in operation.inputs if v is not None]
                    found: frozenset[int] = frozenset().union(*given)
                else:
                    found = frozenset([number])
                for value in operation.outputs:
                    self.of[value] = found


def graph_of(flat: Flat, provenance: Provenance) -> Graph:
    """The graph of the layers that have a row."""
    order = {operation.key: number for number, operation in enumerate(provenance.outputs)}
    nodes = []
    for number, operation in enumerate(provenance.outputs):
        layer = provenance.layers[number]
        own, entries = _back(flat, operation.inputs, order, layer)
        between, _ = _back(flat, entries, order, None)
        before = frozenset().union(*(provenance.of[v] for v in operation.inputs if v is not None))
        nodes.append(
            Node(
                layer,
                operation.key,
                tuple(sorted(n for n in before if n < number)),
                _words(own),
                _words(between),
            )
        )
    (loss,) = flat.outputs[:1]
    last = provenance.of[loss] if loss is not None else frozenset()
    after, _ = _back(flat, [loss], order, None)
    return Graph(tuple(nodes), tuple(sorted(last)), _words(after))


def _back(
    flat: Flat, values: list[int | None], outputs: dict[Key, int], layer: Layer | None
) -> tuple[list[Operation], list[int | None]]:
    """The operations that lead to values, back to where a layer returns; or, of one layer, to
    where its call began, and the values there. A layer that is one operation has none of its own.
    """
    if layer is not None and not layer.is_marked:
        return [], values
    found: list[Operation] = []
    entries: list[int | None] = []
    seen: set[int] = set()
    waiting = [v for v in values if v is not None]
    while waiting:
        value = waiting.pop()
        maker = flat.makers.get(value)
        if value in seen or maker is None:
            continue
        seen.add(value)
        mark = mark_of(maker.eqn)
        if mark and mark.side == "input" and layer and mark.layer.path == layer.path:
            entries += maker.inputs
        elif maker.key not in outputs:
            found.append(maker)
            waiting += [v for v in maker.inputs if v is not None]
    return found, entries


def _words(operations: list[Operation]) -> tuple[str, ...]:
    names = {operation.name for operation in operations}
    return tuple(words for name, words in _DELICATE.items() if name in names)


def post_dominators(graph: Graph) -> list[int]:
    """For each node the next one that every way to the loss goes through; the loss is -1.

    K. D. Cooper, T. J. Harvey, K. Kennedy, "A Simple, Fast Dominance Algorithm" (2001), on the
    reversed graph, which has no cycles: one pass from the loss back is enough. A node that the
    loss does not depend on has itself.
    """
    after: list[set[int]] = [set() for _ in graph.nodes]
    for number, node in enumerate(graph.nodes):
        for previous in node.before:
            after[previous].add(number)
    for number in graph.last:
        after[number].add(-1)
    found = list(range(len(graph.nodes)))
    depth = {-1: 0}

    def meet(a: int, b: int) -> int:
        while a != b:
            if depth[a] >= depth[b]:
                a = found[a]
            else:
                b = found[b]
        return a

    for number in reversed(range(len(graph.nodes))):
        following = [n for n in after[number] if n in depth]
        if following:
            meeting = following[0]
            for other in following[1:]:
                meeting = meet(meeting, other)
            found[number] = meeting
            depth[number] = depth[meeting] + 1
    return found


def chains(graph: Graph) -> Iterator[list[int]]:
    """The longest sequences of nodes, each the next that every way from the last goes through."""
    following = post_dominators(graph)
    followed = {after for number, after in enumerate(following) if after != number}
    for number in range(len(graph.nodes)):
        if number in followed or following[number] == number:
            continue
        chain = [number]
        while following[chain[-1]] != -1:
            chain.append(following[chain[-1]])
        yield chain
