"""A loss's program with everything measured, made once and run as often as wanted."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._choices import choices
from ._evaluate import Evaluator
from ._facts import Facts, Parameter
from ._flat import Flat
from ._layers import marked_layers, operation_layers
from ._mark import Layer, mark_of, marked
from ._plan import Plan, plan_of
from ._sums import ACCUMULATORS, over_runs, plain_squares, run_squares, totals
from ._tap import joined
from ._uses import Use, use_of


class Measured(NamedTuple):
    """The arrays of a report.

    Attributes:
      loss: scalar.
      sites: for each group of sites `[members, ..., size]`, loops in between.
      sums: for each group of parameters `[members, ..., 2, accumulators]`, of gradient and value.
      batch_is_finite: bool scalar.
      evaluations: how many are added up, int32 scalar; 0 in a report that nothing was
        measured for.
    """

    loss: Array
    sites: tuple[Array, ...]
    sums: tuple[Array, ...]
    batch_is_finite: Array
    evaluations: Array


class Result(NamedTuple):
    """What a program gives.

    Attributes:
      rest: what the loss gives besides its value.
      gradients: of the parameters.
      measured: the arrays of the report.
    """

    rest: list[Array]
    gradients: list[Array]
    measured: Measured


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

    Attributes:
      facts: the report's static part.
      run: compiled, `run(parameters, others) -> Result`.
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
        site_groups = _grouped(
            [
                (site.in_columns and site.shape, str(jax.tree.map(jnp.shape, probe)), site.dtype)
                for site, probe in zip(plan.sites, probes.values(), strict=True)
            ]
        )
        parameter_groups = _grouped(
            [
                (stack, own, jnp.dtype(p.dtype).name, str(jax.typeof(p).sharding.spec))
                for (stack, own), p in zip(shapes, parameters, strict=True)
            ]
        )
        run = functools.partial(
            _run, closed, plan, probes, shapes, batch, site_groups, parameter_groups
        )
        self.run = jax.jit(run)
        seed = jnp.ones((), closed.out_avals[0].dtype)
        traced = self.run.trace(list(parameters), list(others), seed)
        reached = _reached(traced.jaxpr)
        self._seed = seed
        self._measured = traced.out_info.measured
        self.facts = Facts(
            plan,
            tuple(
                Parameter(
                    name,
                    layers.owners[i],
                    own,
                    stack,
                    value in used,
                    (_PARAMETER, i) in reached,
                    jnp.dtype(p.dtype).name,
                    uses[i].kind,
                    uses[i].fan_in,
                    _choices_among(stack, uses[i], chosen),
                )
                for i, (name, (stack, own), value, p) in enumerate(
                    zip(names, shapes, flat.inputs, parameters, strict=False)
                )
            ),
            tuple((_SITE, i) in reached for i in range(len(plan.sites))),
            site_groups,
            parameter_groups,
            per_step,
        )

    def unmeasured(self) -> Measured:
        """Zeros in the place of all that is measured."""
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._measured)

    def __call__(self, parameters: Sequence[Any], others: Sequence[Any]) -> Result:
        return self.run(list(parameters), list(others), self._seed)


# Kinds of what is marked as measured in a traced gradient.
_SITE, _PARAMETER = "site", "parameter"
Shape = tuple[int, ...]


def _run(
    closed: Any,
    plan: Plan,
    probes: dict[int, Any],
    shapes: list[tuple[Shape, Shape]],
    batch: Sequence[int],
    site_groups: Sequence[tuple[int, ...]],
    parameter_groups: Sequence[tuple[int, ...]],
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
    gradients = [_measured(_PARAMETER, i, gradient) for i, gradient in enumerate(gradients)]
    measured = Measured(
        loss,
        tuple(_joined_sites(plan, group, found) for group in site_groups),
        tuple(
            _joined_parameters(group, gradients, parameters, len(shapes[group[0]][0]))
            for group in parameter_groups
        ),
        _all_finite([others[i] for i in batch]),
        jnp.ones((), jnp.int32),
    )
    return Result(rest, gradients, measured)


def _joined_sites(plan: Plan, group: Sequence[int], found: dict[int, Any]) -> Array:
    """The measurements of sites of one shape."""
    stacked = jax.tree.map(
        lambda *parts: jnp.stack(parts), *[_measured(_SITE, i, found[i]) for i in group]
    )
    site = plan.sites[group[0]]
    if site.in_columns:
        return joined(stacked, math.prod(site.shape))
    return jnp.stack(stacked, -2) if isinstance(stacked, tuple) else stacked


def _joined_parameters(
    group: Sequence[int], gradients: Sequence[Array], parameters: Sequence[Array], stack: int
) -> Array:
    """The sums of squares of parameters of one shape and of their gradients."""
    pairs = [(gradients[i], parameters[i]) for i in group]
    if parameters[group[0]].size <= _SMALL:  # one operation for all of them
        together = jnp.stack([jnp.stack(pair) for pair in pairs])
        return totals(_over(run_squares, stack + 2)(jnp.moveaxis(together, 1, stack + 1)))
    slopes = jnp.stack([_over(run_squares, stack)(gradient) for gradient, _ in pairs])
    sizes = jnp.stack([_over(plain_squares, stack)(parameter) for _, parameter in pairs])
    plain = over_runs(sizes)[..., None]
    none = jnp.zeros_like(plain, shape=(*plain.shape[:-1], ACCUMULATORS - 1))
    return jnp.stack([totals(slopes), jnp.concatenate([plain, none], -1)], -2)


# Parameters with so few elements are copied into one array rather than summed one by one.
_SMALL = 4096


def _measured(kind: str, index: int, value: Any) -> Any:
    return marked(value, Layer(str(index), kind), "output")


def _reached(jaxpr: Any) -> set[tuple[str, int]]:
    """What depends, in the program of a gradient, on the gradient that it starts from."""
    flat = Flat(jaxpr)
    depend = flat.reached_from(flat.inputs[-1:])
    return {
        (mark.layer.kind, int(mark.layer.path))
        for operation in flat.operations
        if (mark := mark_of(operation.eqn)) and mark.layer.kind in (_SITE, _PARAMETER)
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
    """How many choices are made among what the last axis of a stack has one of for each."""
    return chosen.get(stack[-1], 0) if use.is_stacked and len(stack) == use.stack + 1 else 0


def _grouped(keys: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    groups: dict[Any, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return tuple(map(tuple, groups.values()))


def _over(function: Callable[[Array], Any], axes: int) -> Callable[[Array], Any]:
    for _ in range(axes):
        function = jax.vmap(function)
    return function


def _all_finite(arrays: Sequence[Array]) -> Array:
    floating = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in floating] or [True]))
