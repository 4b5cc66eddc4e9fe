"""What is measured where in a traced program."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from .._jaxpr import CHECKPOINT, JIT, is_spread, scan_groups, varying
from ._attentions import Mixing, attentions
from ._flat import Flat, Key, Operation
from ._graph import Graph, Provenance, graph_of
from ._mark import Layer
from ._moves import MOVES
from ._patterns import activations
from ._sums import ACCUMULATORS
from ._tap import PROBE_SIZE, empty_columns

# Calls that run what is inside once, on whole arrays.
_PLAIN = frozenset([*JIT, *CHECKPOINT, "closed_call", "core_call"])
# What can be run again with taps inside.
_ENTERED = _PLAIN | {"scan", "cond", "shard_map"}
# Of a softmax: queries that see several keys, those of them that give one key all, and their
# logits' spread. Of a sigmoid: weights, those of them that are next to 1, and how many are not 0.
ATTENTION_SIZE = 3


@dataclasses.dataclass(frozen=True)
class Site:
    """One thing to measure.

    Attributes:
      kind: "output" of a layer, "activation" behind it, "attention" or recurrent "state".
      key: the equation.
      layers: paths of the layers that it belongs to.
      name: of the activation, or "softmax" or "sigmoid" attention.
      mixing: of sigmoid attention, the product with the values that it is measured at.
      carries: of a state, which values of the loop's carry it is.
      shape: of what is measured, loops around it left out.
      dtype: of what is measured.
      node: of an output, its number in the graph.
      loops: keys of the loops around it.
      in_columns: whether its sums are left in columns until all are joined: of one array outside
        of all loops, branches and meshes.
      elements: of what is measured, on all devices, loops left out.
    """

    kind: str
    key: Key
    layers: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    name: str = ""
    carries: tuple[int, ...] = ()
    node: int = -1
    loops: tuple[Key, ...] = ()
    in_columns: bool = False
    elements: int = 0
    mixing: Mixing | None = None

    def probe(self) -> Any:
        """Zeros that its measurement is the gradient of."""
        if self.in_columns:
            return empty_columns(jax.ShapeDtypeStruct(self.shape, self.dtype))
        dtype = jnp.float64 if self.dtype == "float64" else jnp.float32
        if self.kind == "activation":
            units = jnp.zeros(self.shape[-1:], dtype)
            return (units,) if self.name == "relu" else (units, units, units)
        size = {"output": PROBE_SIZE, "attention": ATTENTION_SIZE, "state": 2 * ACCUMULATORS}
        return jnp.zeros(size[self.kind], dtype)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured in a program.

    Attributes:
      sites: in the program's order.
      graph: which layer comes before which.
      lengths: of the loops, by their key.
      recurrent: keys of the loops over time.
      stacks: keys of the loops over layers, each step with parameters of its own.
      opaque: paths of layers inside what cannot be entered.
    """

    sites: tuple[Site, ...]
    graph: Graph
    lengths: tuple[tuple[Key, int], ...]
    recurrent: tuple[Key, ...]
    stacks: tuple[Key, ...]
    opaque: tuple[str, ...]


def plan_of(flat: Flat, names: Sequence[str], layers: Mapping[Key, Layer], per_step: bool) -> Plan:
    """Finds what to measure.

    Args:
      flat: the loss's program.
      names: of its parameters, which are its first inputs.
      layers: for each equation that gives a layer's output, the layer.
      per_step: whether layers inside loops over time are measured at each step.
    """
    provenance = Provenance(flat, layers)
    graph = graph_of(flat, provenance)
    loops = {key: eqn for key, eqn in flat.containers.items() if eqn.primitive.name == "scan"}
    states = {key: found for key, eqn in loops.items() if (found := _carries(flat, key, eqn))}
    sites: list[Site] = []
    opaque = []

    def add(kind: str, key: Key, layers: Iterable[str], value: int, **others: Any) -> None:
        around = tuple(loop for loop in loops if _is_inside(key, loop))
        if kind in ("activation", "attention") and set(around) & states.keys():
            return
        if kind == "output" and set(around) & states.keys() and not per_step:
            return
        aval = flat.avals[value]
        shape, dtype = tuple(aval.shape), aval.dtype.name
        elements = math.prod(shape) * _copies(flat, key, aval)
        sites.append(
            Site(kind, key, tuple(layers), shape, dtype, loops=around, elements=elements, **others)
        )

    for number, operation in enumerate(provenance.outputs):
        path = graph.nodes[number].layer.path
        if _is_open(flat, operation.key):
            plain = all(eqn.primitive.name in _PLAIN for eqn in flat.around(operation.key))
            add(
                "output", operation.key, [path], operation.outputs[0], node=number,
                in_columns=plain
                and len(operation.outputs) == 1
                and not is_spread(flat.avals[operation.outputs[0]]),
            )  # fmt: skip
        else:
            opaque.append(path)
    following = flat.leading_to(v for op in provenance.outputs for v in op.inputs)
    weighing = list(attentions(flat))
    for act in activations(flat, besides={att.gate for att in weighing}):
        before = provenance.of[act.value]
        if before and act.result in following and _is_open(flat, act.key):
            path = graph.nodes[max(before)].layer.path
            add("activation", act.key, [path], act.result, name=act.name)
    for att in weighing:
        before = provenance.of[att.logits]
        if before and _is_open(flat, att.key):
            paths = [graph.nodes[n].layer.path for n in sorted(before)]
            add("attention", att.key, paths, att.logits, name=att.name, mixing=att.mixing)
    for key, carries in states.items():
        if _is_open(flat, (*key, 0)):
            inside = [n.layer.path for n in graph.nodes if _is_inside(n.key, key)]
            inside = inside or flat.parameters_of(key, names)
            joint = flat.joints[key][carries[0]]
            add("state", key, dict.fromkeys(inside), joint.outputs[0], carries=carries)
    lengths = tuple((key, eqn.params["length"]) for key, eqn in loops.items())
    stacks = tuple(key for key, eqn in loops.items() if _is_stack(flat, key, eqn))
    sites.sort(key=lambda site: site.key)
    return Plan(tuple(sites), graph, lengths, tuple(states), stacks, tuple(dict.fromkeys(opaque)))


def _copies(flat: Flat, key: Key, aval: Any) -> int:
    """On how many devices a value inside `shard_map` is another one."""
    sizes: dict[str, int] = {}
    for eqn in flat.around(key):
        if eqn.primitive.name == "shard_map":
            sizes.update(eqn.params["mesh"].shape)
    return math.prod(sizes.get(axis, 1) for axis in varying(aval))


def _is_inside(key: Key, loop: Key) -> bool:
    return len(loop) < len(key) and key[: len(loop)] == loop


def _is_open(flat: Flat, key: Key) -> bool:
    """Whether taps can be put where an equation is."""
    return all(eqn.primitive.name in _ENTERED for eqn in flat.around(key))


def _is_stack(flat: Flat, key: Key, eqn: JaxprEqn) -> bool:
    return any(map(flat.is_parameter, scan_groups(eqn, flat.loops[key].inputs)[2]))


def _carries(flat: Flat, key: Key, eqn: JaxprEqn) -> tuple[int, ...]:
    """What a loop over time carries from step to step; nothing for a loop over layers.

    A loop over time uses the same parameters at every step, one over layers a slice of them. What
    is added up step by step is no state: no step depends on it.
    """
    operation = flat.loops[key]
    consts, carry, xs = scan_groups(eqn, operation.inputs)
    unchanged = [
        first for first, joint in zip(carry, flat.joints[key], strict=True)
        if joint.inputs[1] == joint.outputs[0]
    ]  # fmt: skip
    del xs
    if _is_stack(flat, key, eqn) or not any(map(flat.is_parameter, (*consts, *unchanged))):
        return ()
    return tuple(
        index
        for index, joint in enumerate(flat.joints[key])
        if joint.inputs[1] not in (None, joint.outputs[0])
        and not _is_sum(flat, joint)
        and jnp.issubdtype(flat.avals[joint.outputs[0]].dtype, jnp.floating)
        and flat.avals[joint.outputs[0]].shape
    )


def _is_sum(flat: Flat, joint: Operation) -> bool:
    """Whether a loop only adds to what it carries."""
    seen, waiting = set(joint.outputs), list(joint.outputs)
    while waiting:
        for user in flat.users[waiting.pop()]:
            if user.key == joint.key:  # where the loop goes on, or ends
                continue
            if user.name not in MOVES and user.name not in ("add", "join"):
                return False
            new = [v for v in user.outputs if v not in seen]
            seen.update(new)
            waiting += new
    return True
