"""Jaxprs in which the forms of sigmoids are replaced, and nothing else is."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax.numpy as jnp
from jax.extend import linear_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxprs_in_params

from .._jaxpr import BODIES, CUSTOM_DERIVATIVE, open_jaxpr
from ._expressions import as_equation
from ._forms import has_forms, is_own, recognise
from ._inline import inline
from ._obstacles import warn, warn_of_logarithm
from ._terms import Scope, Term

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
        self._calls: dict[Hashable, JaxprEqn] = {}

    def rewrite(self, jaxpr: Any) -> Any:
        """The jaxpr with forms replaced, the very same object where there are none."""
        if isinstance(jaxpr, tuple):
            parts = tuple(self.rewrite(part) for part in jaxpr)
            same = all(new is old for new, old in zip(parts, jaxpr, strict=True))
            return jaxpr if same else parts
        if id(jaxpr) not in self._known:
            body = open_jaxpr(jaxpr)
            if body is jaxpr:
                new: Any = self._rewrite_open(jaxpr)
            else:
                rewritten = self.rewrite(body)
                new = jaxpr if rewritten is body else ClosedJaxpr(rewritten, jaxpr.consts)
            # The old jaxpr is kept alive so that its id is not used again.
            self._known[id(jaxpr)] = (jaxpr, new)
        return self._known[id(jaxpr)][1]

    def _rewrite_open(self, original: Jaxpr) -> Jaxpr:
        scope = inline(Scope(original))
        jaxpr = scope.jaxpr
        replacements = [self._replacement(eqn, scope) for eqn in jaxpr.eqns]
        # What the replacements read may have to be returned by the functions that compute it.
        extended = scope.extended()
        eqns = [
            new or self._enter(eqn) for new, eqn in zip(replacements, extended.eqns, strict=True)
        ]
        if all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True)):
            return original
        return jaxpr.replace(eqns=_needed(eqns, jaxpr))

    def _replacement(self, eqn: JaxprEqn, scope: Scope) -> JaxprEqn | None:
        if not has_forms(eqn) or len(eqn.outvars) != 1 or not _is_real(eqn.outvars[0].aval):
            return None
        expression = recognise(Term(eqn.outvars[0], scope))
        if expression is None:
            warn_of_logarithm(eqn, scope)
            return None
        return as_equation(expression, eqn, scope, self._calls)

    def _enter(self, eqn: JaxprEqn) -> JaxprEqn:
        name = eqn.primitive.name
        if is_own(eqn):
            return eqn
        if name not in BODIES:
            if any(self.rewrite(body) is not body for body in jaxprs_in_params(eqn.params)):
                warn(eqn, f"a sigmoid in it stays as it is: there is no way into `{name}`")
            return eqn
        bodies = {key: self.rewrite(eqn.params[key]) for key in BODIES[name]}
        rules = self._rules(eqn) if name in CUSTOM_DERIVATIVE else {}
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
        """Wraps a rule that is told which tangents are zero and returns a jaxpr; rewrites that."""

        @functools.cache
        def rewritten(*zeros: bool) -> Any:
            jaxpr, *more = original.call_wrapped(*zeros)
            return self.rewrite(jaxpr), *more

        return linear_util.wrap_init(rewritten, debug_info=original.debug_info)


def _is_real(aval: Any) -> bool:
    return hasattr(aval, "dtype") and bool(jnp.issubdtype(aval.dtype, jnp.floating))


def _needed(eqns: list[JaxprEqn], jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The equations without those that only computed what the replaced ones read."""
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
