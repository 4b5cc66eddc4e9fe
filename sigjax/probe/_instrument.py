"""A traced function, run again with a tap wherever a layer or an activation is."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from .._jaxpr import CHECKPOINT, JIT, bodies, equations, is_from_jax, open_jaxpr
from ._markers import path_of
from ._tap import PROBE_SIZE, only_counted, record, tap

# What a value goes through between a layer's output and its activation.
_CARRIES_OWNER = frozenset(
    [
        "add",
        "add_any",
        "sub",
        "mul",
        "div",
        "neg",
        "convert_element_type",
        "copy",
        "reshape",
        "squeeze",
        "broadcast_in_dim",
        "transpose",
        "slice",
        "split",
        "dynamic_slice",
    ]
)
# An output of a bounded activation is saturated within this share of its range from a bound.
_SATURATED = 0.01
# What can be run again with taps inside, of what the walker can enter.
_ENTERED = frozenset([*JIT, *CHECKPOINT, "scan", "cond"])


@dataclasses.dataclass(frozen=True)
class Slot:
    """One probe: at a layer's output, or at the activation (then named) that follows it."""

    path: str
    activation: str | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where probes go in a jaxpr: for each equation a slot, or the plans of its bodies."""

    entries: "dict[int, Slot | tuple[Plan, ...]]"
    lengths: dict[int, int]  # of the equations that are scans
    hidden: tuple[str, ...] = ()  # layers inside what cannot be entered

    def probes(self) -> dict[str, Any]:
        """Zeros for every slot, stacked under scans."""
        found: dict[str, Any] = {}
        for index, entry in self.entries.items():
            if isinstance(entry, Slot):
                found[str(index)] = jnp.zeros(PROBE_SIZE, jnp.float32)
                continue
            inside = [plan.probes() for plan in entry]
            if index in self.lengths:
                stack = functools.partial(_stacked, self.lengths[index])
                inside = jax.tree.map(stack, inside)
            found[str(index)] = inside
        return found

    def slots(self, probes: Any) -> "Iterator[tuple[Slot, Any, tuple[int, ...]]]":
        """Each slot with its part of `probes` and the lengths of the scans around it."""
        for index, entry in self.entries.items():
            part = probes[str(index)]
            if isinstance(entry, Slot):
                yield entry, part, ()
                continue
            around = (self.lengths[index],) if index in self.lengths else ()
            for plan, inside in zip(entry, part, strict=True):
                for slot, probe, lengths in plan.slots(inside):
                    yield slot, probe, around + lengths


def _stacked(length: int, probe: Array) -> Array:
    return jnp.broadcast_to(probe, (length, *probe.shape))


Owners = dict[Var, str]


def plan_probes(jaxpr: Jaxpr, wanted: Callable[[str], bool], owners: Owners | None = None) -> Plan:
    """Finds the layers in a jaxpr whose path is wanted, and the activations that follow them."""
    owners = {} if owners is None else owners
    entries: dict[int, Slot | tuple[Plan, ...]] = {}
    lengths: dict[int, int] = {}
    hidden: list[str] = []
    for index, eqn in enumerate(jaxpr.eqns):
        path = path_of(eqn)
        if path is not None:
            if wanted(path):
                entries[index] = Slot(path)
                owners.update((variable, path) for variable in eqn.outvars)
            else:
                _pass_on(eqn, owners)
            continue
        owner = _owner(eqn, owners)
        activation = _activation(eqn)
        if activation is not None and owner is not None:
            entries[index] = Slot(owner, activation)
            continue
        entered = _bodies(eqn)
        if entered is None:
            hidden += [name for body in jaxprs_in_params(eqn.params) for name in _paths(body)]
        else:
            plans = tuple(_plan_body(eqn, body, wanted, owners) for body in entered)
            hidden += [name for plan in plans for name in plan.hidden]
            if any(plan.entries for plan in plans):
                entries[index] = plans
                if eqn.primitive.name == "scan":
                    lengths[index] = eqn.params["length"]
        if owner is not None and eqn.primitive.name in _CARRIES_OWNER:
            owners.update((variable, owner) for variable in eqn.outvars)
    return Plan(entries, lengths, tuple(hidden))


def _plan_body(eqn: JaxprEqn, body: Jaxpr, wanted: Callable[[str], bool], owners: Owners) -> Plan:
    given = eqn.invars[-len(body.invars) :] if body.invars else []
    inside = {
        inner: owners[outer]
        for inner, outer in zip(body.invars, given, strict=True)
        if isinstance(outer, Var) and outer in owners
    }
    plan = plan_probes(body, wanted, inside)
    for outer, inner in zip(eqn.outvars, body.outvars, strict=False):
        if isinstance(inner, Var) and inner in inside:
            owners[outer] = inside[inner]
    return plan


def _pass_on(eqn: JaxprEqn, owners: Owners) -> None:
    for before, after in zip(eqn.invars, eqn.outvars, strict=True):
        if isinstance(before, Var) and before in owners:
            owners[after] = owners[before]


def _owner(eqn: JaxprEqn, owners: Owners) -> str | None:
    """The layer that an equation works on; of two that are joined, the later one."""
    found = [owners[a] for a in eqn.invars if not isinstance(a, Literal) and a in owners]
    return found[-1] if found else None


def _paths(jaxpr: Any) -> Iterator[str]:
    found = (path_of(eqn) for eqn in equations(jaxpr))
    return (path for path in found if path is not None)


def _bodies(eqn: JaxprEqn) -> tuple[Jaxpr, ...] | None:
    """The jaxprs that taps can be put in; none for most equations, None where there is no way."""
    inside = bodies(eqn)
    return inside if not inside or eqn.primitive.name in _ENTERED else None


def _activation(eqn: JaxprEqn) -> str | None:
    name = eqn.primitive.name
    if name in ("logistic", "tanh"):
        return {"logistic": "sigmoid"}.get(name, name)
    if name == "max" and any(isinstance(a, Literal) and _is_zero(a.val) for a in eqn.invars):
        return "relu"
    if name == "custom_jvp_call":
        if is_from_jax(eqn, "relu"):
            return "relu"
        inside = {inner.primitive.name for inner in equations(eqn.params["call_jaxpr"])}
        inside -= {"convert_element_type", *JIT}
        if inside == {"logistic"}:
            return "sigmoid"
    return None


def _is_zero(value: Any) -> bool:
    return not jnp.shape(value) and bool(value == 0)


def run_with_probes(
    jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], plan: Plan, probes: Any
) -> list[Any]:
    """Evaluates a jaxpr with its layers' outputs tapped, each with its own probe."""
    values: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    for index, eqn in enumerate(jaxpr.eqns):
        given = [a.val if isinstance(a, Literal) else values[a] for a in eqn.invars]
        entry = plan.entries.get(index)
        with eqn.ctx.manager:
            if entry is None:
                results = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
                results = results if eqn.primitive.multiple_results else [results]
            elif isinstance(entry, Slot):
                results = _tapped(eqn, given, entry, probes[str(index)])
            else:
                results = _enter(eqn, given, entry, probes[str(index)])
        values.update(zip(eqn.outvars, results, strict=True))
    return [a.val if isinstance(a, Literal) else values[a] for a in jaxpr.outvars]


def _tapped(eqn: JaxprEqn, given: list[Any], slot: Slot, probe: Array) -> list[Any]:
    if slot.activation is None:
        return [tap(value, probe) for value in given]
    results = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
    (result,) = results if eqn.primitive.multiple_results else [results]
    return [record(result, probe, _activation_counts(slot.activation, result))]


def _activation_counts(activation: str, y: Array) -> Array:
    y = lax.stop_gradient(y).astype(jnp.float32)
    size = float(math.prod(y.shape))
    if activation == "relu":
        active = (y > 0).astype(jnp.float32)
        dead = 1 - jnp.max(active, axis=tuple(range(y.ndim - 1)), initial=0)
        return only_counted(
            units=float(dead.size),
            dead=jnp.sum(dead),
            slopes=size,
            slope_squares=jnp.sum(active),
        )
    low = 0.0 if activation == "sigmoid" else -1.0
    edge = _SATURATED * (1 - low)
    saturated = (y < low + edge) | (y > 1 - edge)
    slope = y * (1 - y) if activation == "sigmoid" else 1 - y * y
    return only_counted(
        gates=size,
        saturated=jnp.sum(saturated.astype(jnp.float32)),
        slopes=size,
        slope_squares=jnp.sum(slope * slope),
    )


def _enter(eqn: JaxprEqn, given: list[Any], plans: tuple[Plan, ...], probes: Any) -> list[Any]:
    name = eqn.primitive.name
    if name == "cond":
        index, *operands = given
        branches = [
            _runner(branch, plan, position)
            for position, (branch, plan) in enumerate(
                zip(eqn.params["branches"], plans, strict=True)
            )
        ]
        return list(lax.switch(index, branches, operands, probes))
    run = _runner(eqn.params["jaxpr"], plans[0], 0)
    if name == "scan":
        return _scan(eqn, given, run, probes)
    if name in CHECKPOINT:
        policy, prevent = eqn.params["policy"], eqn.params["prevent_cse"]
        return list(jax.checkpoint(run, policy=policy, prevent_cse=prevent)(given, probes))
    run.__name__ = str(eqn.params.get("name", "jit"))
    return list(jax.jit(run)(given, probes))


def _runner(jaxpr: Any, plan: Plan, position: int) -> Callable[[list[Any], Any], list[Any]]:
    """A body as a function of its arguments and of the probes of all bodies of its equation."""
    consts = jaxpr.consts if isinstance(jaxpr, ClosedJaxpr) else ()

    def run(arguments: list[Any], probes: Any) -> list[Any]:
        return run_with_probes(open_jaxpr(jaxpr), consts, arguments, plan, probes[position])

    return run


def _scan(eqn: JaxprEqn, given: list[Any], run: Callable[..., list[Any]], probes: Any) -> list[Any]:
    consts, carry, xs = _scan_groups(eqn, given)

    def body(carry: list[Any], slices: tuple[list[Any], Any]) -> tuple[list[Any], list[Any]]:
        xs, probes = slices
        results = run([*consts, *carry, *xs], probes)
        return results[: len(carry)], results[len(carry) :]

    last, ys = lax.scan(
        body,
        carry,
        (xs, probes),
        length=eqn.params["length"],
        reverse=eqn.params["reverse"],
        unroll=eqn.params["unroll"],
    )
    return [*last, *ys]


def _scan_groups(eqn: JaxprEqn, given: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Constants, carries and scanned inputs, which jax tells apart in two ways."""
    if "num_consts" in eqn.params:
        first = eqn.params["num_consts"]
        second = first + eqn.params["num_carry"]
        return given[:first], given[first:second], given[second:]
    consts, carry, xs = eqn.params["ft_in"].update(given).unpack()
    return list(consts), list(carry), list(xs)
