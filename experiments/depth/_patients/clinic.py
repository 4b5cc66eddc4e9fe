"""Patients diagnosed: as initialised, after training, and with each fault."""

from typing import Any, NamedTuple

import jax
import optax
from flax import nnx

from sigjax.probe import Finding, diagnose

from .architectures import ARCHITECTURES, WITH_ZEROS
from .faults import FAULTS, changed

# The steps after which a healthy model is looked at again, and their rate.
_STEPS, _RATE = 50, 1e-3
HEALTHY = ("as initialised", f"after {_STEPS} steps")


class Judgement(NamedTuple):
    """What was said of one patient.

    Attributes:
      model: its architecture.
      state: "as initialised", "after 50 steps", or the fault.
      expected: kind of the first finding that is right; "" for none.
      found: the first finding, or None.
      is_right: whether kind and layer are those expected.
    """

    model: str
    state: str
    expected: str
    found: Finding | None
    is_right: bool


def judged(name: str) -> list[Judgement]:
    """Everything said of one architecture. All but training runs the same compiled program."""
    make = {**ARCHITECTURES, **WITH_ZEROS}[name]
    model, loss_fn, batch = make()
    found = []
    states = ((HEALTHY[0], model), (HEALTHY[1], _trained(model, loss_fn, batch)))
    for state, patient in states:
        zero = name in WITH_ZEROS and state == HEALTHY[0]
        findings = diagnose(patient, loss_fn, *batch).findings
        # A recurrence that forgets within the sequence is no fault of the diagnosis.
        others = [one for one in findings if one.kind != "forgetting"]
        right = [one.kind for one in others] == (["zero_weights"] if zero else [])
        first = next(iter(others or findings), None)
        expected = "zero_weights" if zero else ""
        found.append(Judgement(name, state, expected, first, right))
    for fault in FAULTS.get(name, ()):
        findings = diagnose(changed(make()[0], fault), loss_fn, *batch).findings
        first = findings[0] if findings else None
        right = (first is None) if fault.kind is None else _names(first, fault.kind, fault.layer)
        found.append(Judgement(name, fault.name, fault.kind or "", first, right))
    return found


def _names(finding: Finding | None, kind: str, layer: str) -> bool:
    if finding is None or finding.kind != kind:
        return False
    return any(one.startswith(layer) for one in finding.layers)


def _trained(model: Any, loss_fn: Any, batch: Any) -> Any:
    graph, state, rest = None, model, None
    if isinstance(model, nnx.Module):
        split: Any = nnx.split(model, nnx.Param, ...)
        graph, state, rest = split
    optimizer = optax.adam(_RATE)

    def loss(state: Any, rest: Any) -> Any:
        if graph is None:
            return loss_fn(state, *batch), rest
        copy = nnx.merge(graph, state, rest, copy=True)
        value = loss_fn(copy, *batch)
        after: Any = nnx.split(copy, nnx.Param, ...)
        return value, after[2]

    @jax.jit
    def train(state: Any, rest: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            state, rest, moments = carry
            gradient, rest = jax.grad(loss, has_aux=True)(state, rest)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(state, updates), rest, moments), None

        carry = (state, rest, optimizer.init(state))
        return jax.lax.scan(step, carry, None, length=_STEPS)[0][:2]

    state, rest = train(state, rest)
    return state if graph is None else nnx.merge(graph, state, rest)
