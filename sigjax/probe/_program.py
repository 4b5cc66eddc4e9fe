"""A loss's program with everything measured, made once and run as often as wanted."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._choices import choices
from ._evaluate import Evaluator
from ._facts import Facts, Parameter
from ._flat import Flat
from ._layers import marked_layers, operation_layers
from ._layout import PARAMETER, SITE, Layout, Measured, Parts, Shape
from ._mark import Layer, mark_of
from ._plan import Plan, plan_of
from ._uses import Use, use_of


class Result(NamedTuple):
    """What a program gives.

    Attributes:
      rest: what the loss gives besides its value; empty in a program without gradients.
      gradients: of the parameters; the same.
      measured: the arrays of the report; as long as they are traced without gradients, their parts.
    """

    rest: list[Array]
    gradients: list[Array]
    measured: Any


class Program:
    """A loss, its gradient and what is measured on the way.

    Args:
      loss: a function of lists of arrays, parameters and others, that gives a list of arrays, the
        loss first.
      parameters: the parameters, or their shapes.
      names: of the parameters.
      others: what else the loss works on.
      batch: which of the others are the batch.
      wanted: which marked layers have a row; None if layers are operations with a parameter.
      per_step: whether layers in loops over time are measured at each step.
      gradients: whether they are wanted, or the report alone.

    Attributes:
      facts: the report's static part.
    """

    def __init__(
        self,
        loss: Callable[[list[Any], list[Any]], list[Any]],
        parameters: Sequence[Any],
        names: Sequence[str],
        others: Sequence[Any],
        batch: Sequence[int],
        wanted: Callable[[Layer], bool] | None,
        per_step: bool,
        gradients: bool,
    ):
        closed = jax.make_jaxpr(loss)(list(parameters), list(others))
        flat = Flat(closed.jaxpr, len(parameters))
        uses = [use_of(flat, value) for value in flat.inputs[: len(parameters)]]
        layers = (
            operation_layers(flat, names, uses)
            if wanted is None
            else marked_layers(flat, names, wanted)
        )
        plan = plan_of(flat, names, layers.outputs, per_step)
        used = flat.leading_to(flat.outputs[:1])
        seen = _seen_shapes(flat)
        chosen = choices(flat)
        shapes = [
            _split(seen.get(name), jnp.shape(p), use, chosen)
            for name, p, use in zip(names, parameters, uses, strict=True)
        ]
        probes = _probes(plan)
        layout = Layout.of(plan.sites, probes, shapes, parameters)
        run = functools.partial(_run, closed, plan, probes, layout, batch, gradients)
        self._run = jax.jit(run)
        seed = jnp.ones((), closed.out_avals[0].dtype)
        traced = self._run.trace(list(parameters), list(others), seed)
        reached = _reached(traced.jaxpr)
        self._seed = seed
        self._layout = layout
        self._out = traced.out_info
        self.facts = Facts(
            plan,
            tuple(
                Parameter(
                    name,
                    layers.owners[i],
                    own,
                    stack,
                    value in used,
                    (PARAMETER, i) in reached,
                    jnp.dtype(p.dtype).name,
                    uses[i].kind,
                    uses[i].fan_in,
                    _choices_among(stack, uses[i], chosen),
                )
                for i, (name, (stack, own), value, p) in enumerate(
                    zip(names, shapes, flat.inputs, parameters, strict=False)
                )
            ),
            tuple((SITE, i) in reached for i in range(len(plan.sites))),
            layout.site_groups,
            layout.parameter_groups,
            per_step,
        )

    def unmeasured(self) -> Measured:
        """Zeros in the place of all that is measured; of a program with gradients."""
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._out.measured)

    def __call__(self, parameters: Sequence[Any], others: Sequence[Any]) -> Result:
        found: Result = self._run(list(parameters), list(others), self._seed)
        if isinstance(found.measured, Parts):
            return found._replace(measured=self._layout.measured(_here(found.measured)))
        return found


def _run(
    closed: Any,
    plan: Plan,
    probes: dict[int, Any],
    layout: Layout,
    batch: Sequence[int],
    wanted: bool,
    parameters: list[Any],
    others: list[Any],
    seed: Array,
) -> Result:
    def value(parameters: list[Any], probes: dict[int, Any]) -> tuple[Array, list[Any]]:
        arguments = [*parameters, *others]
        first, *rest = evaluator.run(closed.jaxpr, closed.consts, arguments, probes)
        return first, rest

    evaluator = Evaluator(plan)
    loss, pullback, rest = jax.vjp(value, parameters, probes, has_aux=True)
    gradients, found = pullback(seed)
    parts = layout.parts(loss, found, gradients, parameters, [others[i] for i in batch])
    return Result(rest, gradients, layout.measured(parts)) if wanted else Result([], [], parts)


def _here(parts: Parts) -> Parts:
    """The same on the host, unless they are traced, or spread over machines."""
    arrays = jax.tree.leaves(parts)
    if any(isinstance(x, jax.core.Tracer) or not x.is_fully_addressable for x in arrays):
        return parts
    # `jax.device_get` would first ask for a copy of each, which takes longer than to read it.
    found: Parts = jax.tree.map(np.asarray, parts)
    return found


def _reached(jaxpr: Any) -> set[tuple[str, int]]:
    """What depends, in the program of a gradient, on the gradient that it starts from."""
    flat = Flat(jaxpr)
    depend = flat.reached_from(flat.inputs[-1:])
    return {
        (mark.layer.kind, int(mark.layer.path))
        for operation in flat.operations
        if (mark := mark_of(operation.eqn)) and mark.layer.kind in (SITE, PARAMETER)
        if any(value in depend for value in operation.outputs)
    }


def _probes(plan: Plan) -> dict[int, Any]:
    lengths = dict(plan.lengths)
    found: dict[int, Any] = {}
    for index, site in enumerate(plan.sites):
        around = [lengths[key] for key in site.loops]
        if site.kind == "state":
            around.append(lengths[site.key])
        found[index] = jax.tree.map(
            lambda zeros, around=around: jnp.broadcast_to(zeros, (*around, *zeros.shape)),
            site.probe(),
        )
    return found


def _seen_shapes(flat: Flat) -> dict[str, Shape]:
    """Shapes of the parameters as their layers saw them, by name."""
    marks = (mark_of(operation.eqn) for operation in flat.operations)
    layers = {mark.layer for mark in marks if mark is not None}
    return {f"{layer.path}.{name}": shape for layer in layers for name, shape in layer.shapes}


def _split(
    own: Shape | None, shape: Shape, use: Use, chosen: Mapping[int, int]
) -> tuple[Shape, Shape]:
    """A parameter's shape as that of a stack of layers or experts and that in one of them."""
    count = use.stack if own is None else max(len(shape) - len(own), 0)
    if use.is_stacked and shape[use.stack] in chosen:
        count = max(count, use.stack + 1)
    return shape[:count], shape[count:]


def _choices_among(stack: Shape, use: Use, chosen: Mapping[int, int]) -> int:
    """How many choices are made among the experts along a stack's last axis; 0 if it has none."""
    return chosen.get(stack[-1], 0) if use.is_stacked and len(stack) == use.stack + 1 else 0
