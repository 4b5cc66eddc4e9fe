"""A traced program, run again with everything measured that a plan names."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from .._jaxpr import CHECKPOINT, is_spread, manual_axes, open_jaxpr, scan_groups, varying_like
from ._flat import Key
from ._plan import Plan, Site
from ._sums import squares
from ._tap import record, tap, tap_columns
from ._weights import of_sigmoid, of_softmax

# An output of a bounded activation is saturated within this share of its range from a bound.
_SATURATED = 0.01
# So many rows of a bounded activation's output are looked at, or up to twice as many.
_ROWS = 64

Probes = dict[int, Any]


class Evaluator:
    """Evaluates jaxprs with taps.

    Args:
      plan: what is measured.
    """

    def __init__(self, plan: Plan):
        self._at: dict[Key, list[tuple[int, Site]]] = {}
        self._inside: dict[Key, list[int]] = {}
        for index, site in enumerate(plan.sites):
            self._at.setdefault(site.key, []).append((index, site))
            depth = len(site.key) + (site.kind == "state")
            for length in range(1, depth):
                self._inside.setdefault(site.key[:length], []).append(index)

    def run(
        self,
        jaxpr: Jaxpr,
        consts: Sequence[Any],
        arguments: Sequence[Any],
        probes: Probes,
        around: Key = (),
    ) -> list[Any]:
        """The results of a jaxpr; each site is measured by its probe."""
        values: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))
        for index, eqn in enumerate(jaxpr.eqns):
            key = (*around, index)
            given = [a.val if isinstance(a, Literal) else values[a] for a in eqn.invars]
            with eqn.ctx.manager:
                if key in self._inside:
                    inner = {i: probes[i] for i in self._inside[key]}
                    results = _ENTER.get(eqn.primitive.name, _call)(self, eqn, given, inner, key)
                else:
                    results = eqn.primitive.bind(
                        *given, **eqn.primitive.get_bind_params(eqn.params)
                    )
                    results = results if eqn.primitive.multiple_results else [results]
                for i, site in self._at.get(key, ()):
                    probe = jax.tree.map(lambda p, x=results[0]: varying_like(p, x), probes[i])
                    results = _MEASURE[site.kind](site, given, list(results), probe)
            values.update(zip(eqn.outvars, results, strict=True))
        return [a.val if isinstance(a, Literal) else values[a] for a in jaxpr.outvars]

    def body(self, jaxpr: Any, key: Key) -> Callable[[Sequence[Any], Probes], list[Any]]:
        """A body as a function of its arguments and probes."""
        consts = jaxpr.consts if isinstance(jaxpr, ClosedJaxpr) else ()
        return lambda arguments, probes: self.run(open_jaxpr(jaxpr), consts, arguments, probes, key)

    def states(self, key: Key) -> list[tuple[int, Site]]:
        return [(i, site) for i, site in self._at.get(key, ()) if site.kind == "state"]


def _call(
    evaluator: Evaluator, eqn: JaxprEqn, given: list[Any], probes: Probes, key: Key
) -> list[Any]:
    (name,) = {"jaxpr", "call_jaxpr"} & eqn.params.keys()
    run = evaluator.body(eqn.params[name], key)
    if eqn.primitive.name in CHECKPOINT:
        policy, prevent = eqn.params["policy"], eqn.params["prevent_cse"]
        return list(jax.checkpoint(run, policy=policy, prevent_cse=prevent)(given, probes))
    return run(given, probes)


def _cond(
    evaluator: Evaluator, eqn: JaxprEqn, given: list[Any], probes: Probes, key: Key
) -> list[Any]:
    index, *operands = given
    branches = [
        evaluator.body(branch, (*key, position))
        for position, branch in enumerate(eqn.params["branches"])
    ]
    return list(lax.switch(index, branches, operands, probes))


def _scan(
    evaluator: Evaluator, eqn: JaxprEqn, given: list[Any], probes: Probes, key: Key
) -> list[Any]:
    consts, carry, xs = scan_groups(eqn, given)
    run = evaluator.body(eqn.params["jaxpr"], (*key, 0))
    states = evaluator.states(key)

    def body(carry: list[Any], slices: tuple[list[Any], Probes]) -> tuple[list[Any], list[Any]]:
        xs, probes = slices
        for i, site in states:
            carry = [
                _watch(c, probes[i], 1) if n in site.carries else c for n, c in enumerate(carry)
            ]
        results = run([*consts, *carry, *xs], probes)
        for i, site in states:
            # One array may be both carried to the next step and returned: both uses get the watched
            # one, so that the probe sees the sum of their gradients.
            watched = {id(results[n]): _watch(results[n], probes[i], 0) for n in site.carries}
            results = [watched.get(id(result), result) for result in results]
        return results[: len(carry)], results[len(carry) :]

    last, ys = lax.scan(
        body,
        carry,
        (xs, {i: probes[i] for i in probes}),
        length=eqn.params["length"],
        reverse=eqn.params["reverse"],
        unroll=eqn.params["unroll"],
    )
    return [*last, *ys]


def _shard_map(
    evaluator: Evaluator, eqn: JaxprEqn, given: list[Any], probes: Probes, key: Key
) -> list[Any]:
    run, params = evaluator.body(eqn.params["jaxpr"], key), eqn.params
    mapped = jax.shard_map(
        lambda arguments, probes: tuple(run(arguments, probes)),
        mesh=params["mesh"],
        in_specs=(list(params["in_specs"]), jax.sharding.PartitionSpec()),
        out_specs=tuple(params["out_specs"]),
        axis_names=manual_axes(eqn),
        check_vma=params["check_vma"],
    )
    return list(mapped(given, probes))


_ENTER: dict[str, Callable[..., list[Any]]] = {
    "cond": _cond,
    "scan": _scan,
    "shard_map": _shard_map,
}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _watch(x: Array, probe: Array, place: int) -> Array:
    """`x`, and, as the gradient of one half of the probe, squares of its gradient."""
    del probe, place
    return x


def _watch_backwards(place: int, residual: Any, gradient: Array) -> tuple[Array, Array]:
    found = squares(gradient).astype(residual.dtype)
    parts = [found, jnp.zeros_like(found)]
    return gradient, jnp.concatenate(parts[::-1] if place else parts)


_watch.defvjp(lambda x, probe, place: (x, jnp.zeros((), probe.dtype)), _watch_backwards)


def _output(site: Site, given: list[Any], results: list[Any], probe: Any) -> list[Any]:
    del given
    watch = tap_columns if site.in_columns else tap
    return [watch(result, probe) for result in results]


def _activation(site: Site, given: list[Any], results: list[Any], probe: Any) -> list[Any]:
    del given
    y = lax.stop_gradient(results[0])
    y = jax.nn.sigmoid(y) if site.name == "router" else y
    y = y.reshape(-1, y.shape[-1]) if y.ndim != 2 and not is_spread(jax.typeof(y)) else y
    if site.name != "relu" and y.ndim > 1:  # a share needs no more, dead units need all
        y = y[:: sampled(y.shape[0])]
    y = y.astype(jnp.float32)
    rows = tuple(range(y.ndim - 1))
    statistics: tuple[Array, ...]
    if site.name == "relu":
        statistics = (jnp.sum((y > 0).astype(jnp.float32), rows),)
    else:
        low = -1.0 if site.name == "tanh" else 0.0
        edge = _SATURATED * (1 - low)
        saturated = ((y < low + edge) | (y > 1 - edge)).astype(jnp.float32)
        slope = 1 - y * y if site.name == "tanh" else y * (1 - y)
        statistics = (
            jnp.sum(saturated, rows),
            jnp.sum(slope * slope, rows),
            varying_like(jnp.full(y.shape[-1:], y.size // max(y.shape[-1], 1), jnp.float32), y),
        )
    statistics = tuple(one.astype(zero.dtype) for one, zero in zip(statistics, probe, strict=True))
    return [record(results[0], probe, statistics), *results[1:]]


def sampled(rows: int) -> int:
    """Of how many rows one is looked at."""
    return max(1, rows // _ROWS)


def _attention(site: Site, given: list[Any], results: list[Any], probe: Array) -> list[Any]:
    mixing = site.mixing
    weights = given[0 if mixing is None else mixing.operand]
    weights = lax.stop_gradient(weights).astype(jnp.float32)
    found = of_softmax(weights) if mixing is None else of_sigmoid(weights, mixing.over)
    return [record(results[0], probe, found.astype(probe.dtype)), *results[1:]]


def _state(site: Site, given: list[Any], results: list[Any], probe: Array) -> list[Any]:
    del site, given, probe  # measured inside the loop
    return results


_MEASURE: dict[str, Callable[..., list[Any]]] = {
    "output": _output,
    "activation": _activation,
    "attention": _attention,
    "state": _state,
}
