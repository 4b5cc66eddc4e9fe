"""Jaxprs in which the forms of sigmoids are replaced, and nothing else is."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import linear_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from ._forms import compiled, is_own, recognise
from ._terms import Scope, Term

# Which parameters of an equation hold the jaxprs that it runs.
_BODIES = {
    "jit": ("jaxpr",),
    "pjit": ("jaxpr",),
    "closed_call": ("call_jaxpr",),
    "core_call": ("call_jaxpr",),
    "remat2": ("jaxpr",),
    "checkpoint": ("jaxpr",),
    "scan": ("jaxpr",),
    "while": ("cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
    "shard_map": ("jaxpr",),
    "custom_jvp_call": ("call_jaxpr",),
    "custom_vjp_call": ("call_jaxpr",),
}

AnyJaxpr = Jaxpr | ClosedJaxpr
Backward = Callable[[Callable[..., Any]], Callable[..., Any]]


class Rewriter:
    """Rewrites a jaxpr and those inside it; one that occurs many times is rewritten once.

    Args:
      stabilize_function: what is done to a custom reverse rule, which is no jaxpr yet.
    """

    def __init__(self, stabilize_function: Backward):
        self._stabilize_function = stabilize_function
        self._known: dict[int, tuple[AnyJaxpr, AnyJaxpr]] = {}
        self.not_entered: set[str] = set()

    def rewrite(self, jaxpr: Any) -> Any:
        """The jaxpr with forms replaced, the very same object where there are none."""
        if isinstance(jaxpr, tuple):
            parts = tuple(self.rewrite(part) for part in jaxpr)
            same = all(new is old for new, old in zip(parts, jaxpr, strict=True))
            return jaxpr if same else parts
        if id(jaxpr) not in self._known:
            body = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
            # Since jax 0.11 there is one class for both, and a closed one is its own body.
            if body is jaxpr:
                new: Any = self._rewrite_open(jaxpr)
            else:
                rewritten = self.rewrite(body)
                new = jaxpr if rewritten is body else ClosedJaxpr(rewritten, jaxpr.consts)
            self._known[id(jaxpr)] = (jaxpr, new)  # the old one is kept so that its id stays its
        return self._known[id(jaxpr)][1]

    def _rewrite_open(self, jaxpr: Jaxpr) -> Jaxpr:
        scope = Scope(jaxpr)
        eqns = [self._replacement(eqn, scope) or self._enter(eqn) for eqn in jaxpr.eqns]
        if all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True)):
            return jaxpr
        return jaxpr.replace(eqns=_needed(eqns, jaxpr))

    def _replacement(self, eqn: JaxprEqn, scope: Scope) -> JaxprEqn | None:
        if len(eqn.outvars) != 1 or not _is_real(eqn.outvars[0].aval):
            return None
        match = recognise(Term(eqn.outvars[0], scope))
        if match is None:
            return None
        function, terms = match
        atoms = [term.seen_from(scope) for term in terms]
        if None in atoms or not all(_is_real(atom.aval) for atom in atoms):
            return None
        result: Any = eqn.outvars[0].aval
        # A form whose argument has another shape or dtype than its value is not the function.
        if any(atom.aval.dtype != result.dtype for atom in atoms):
            return None
        if jnp.broadcast_shapes(*(atom.aval.shape for atom in atoms)) != result.shape:
            return None
        with eqn.ctx.manager:
            traced = jax.make_jaxpr(compiled(function))(*(atom.aval for atom in atoms))
        (call,) = traced.eqns
        return call.replace(
            invars=atoms, outvars=eqn.outvars, source_info=eqn.source_info, ctx=eqn.ctx
        )

    def _enter(self, eqn: JaxprEqn) -> JaxprEqn:
        name = eqn.primitive.name
        if name.startswith("custom_") and is_own(eqn):
            return eqn
        if name not in _BODIES:
            if any(self.rewrite(body) is not body for body in jaxprs_in_params(eqn.params)):
                self.not_entered.add(name)
            return eqn
        bodies = {key: self.rewrite(eqn.params[key]) for key in _BODIES[name]}
        rules = self._rules(eqn) if name in ("custom_jvp_call", "custom_vjp_call") else {}
        if not rules and all(body is eqn.params[key] for key, body in bodies.items()):
            return eqn
        return eqn.replace(params={**eqn.params, **bodies, **rules})

    def _rules(self, eqn: JaxprEqn) -> dict[str, Any]:
        """The derivative rules that somebody wrote, rewritten when they are asked for."""
        if eqn.primitive.name == "custom_jvp_call":
            return {"jvp_jaxpr_fun": self._thunk(eqn.params["jvp_jaxpr_fun"])}
        backward = eqn.params["bwd"]
        return {
            "fwd_jaxpr_thunk": self._thunk(eqn.params["fwd_jaxpr_thunk"]),
            "bwd": linear_util.wrap_init(
                self._stabilize_function(backward.call_wrapped), debug_info=backward.debug_info
            ),
        }

    def _thunk(self, original: Any) -> Any:
        """Of a function that gives a jaxpr, and more, for what is known to be zero."""

        @functools.cache
        def rewritten(*zeros: bool) -> Any:
            jaxpr, *more = original.call_wrapped(*zeros)
            return self.rewrite(jaxpr), *more

        return linear_util.wrap_init(rewritten, debug_info=original.debug_info)


def _is_real(aval: Any) -> bool:
    return hasattr(aval, "dtype") and bool(jnp.issubdtype(aval.dtype, jnp.floating))


def _needed(eqns: list[JaxprEqn], jaxpr: Jaxpr) -> list[JaxprEqn]:
    """Without those that only served what was replaced."""
    needed = {atom for atom in jaxpr.outvars if isinstance(atom, Var)}
    before = _read(jaxpr.eqns) | needed
    kept = []
    for eqn in reversed(eqns):
        wanted = any(variable in needed for variable in eqn.outvars)
        # What nobody had read before either is not ours to remove.
        unread = not any(variable in before for variable in eqn.outvars)
        if wanted or unread or eqn.effects:
            kept.append(eqn)
            needed |= {atom for atom in eqn.invars if not isinstance(atom, Literal)}
    return kept[::-1]


def _read(eqns: list[JaxprEqn]) -> set[Var]:
    return {atom for eqn in eqns for atom in eqn.invars if not isinstance(atom, Literal)}
