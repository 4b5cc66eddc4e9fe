"""Compiled functions that take the logarithm of a sigmoid which their caller computed.

The two are in different jaxprs, so the call is replaced by the equations of what it calls.
"""

from typing import Any

from jax.extend.core import JaxprEqn, Var

from .._jaxpr import JIT, equations, is_literal, open_jaxpr
from ._forms import gate_of, is_own
from ._terms import Scope


def inline(scope: Scope) -> Scope:
    """The scope of a jaxpr in which such calls are replaced, the same one where there are none."""
    while any(called := [_is_called(eqn, scope) for eqn in scope.jaxpr.eqns]):
        names: dict[Var, Any] = {}
        eqns: list[JaxprEqn] = []
        for eqn, inside in zip(scope.jaxpr.eqns, called, strict=True):
            eqn = _renamed(eqn, names)
            eqns += _body(eqn, names) if inside else [eqn]
        outvars = [_name(atom, names) for atom in scope.jaxpr.outvars]
        scope = Scope(scope.jaxpr.replace(eqns=eqns, outvars=outvars))
    return scope


def _is_called(eqn: JaxprEqn, scope: Scope) -> bool:
    if eqn.primitive.name not in JIT or is_own(eqn):
        return False
    if not any(gate_of(scope.term(atom)) is not None for atom in eqn.invars):
        return False
    body = open_jaxpr(eqn.params["jaxpr"])
    # Constants would have to become the caller's.
    return not body.constvars and any(
        inner.primitive.name in ("log", "log1p") for inner in equations(body)
    )


def _body(call: JaxprEqn, names: dict[Var, Any]) -> list[JaxprEqn]:
    """The equations that a call runs, on what it is given; its results get new names."""
    body = open_jaxpr(call.params["jaxpr"])
    inside: dict[Var, Any] = dict(zip(body.invars, call.invars, strict=True))
    eqns = []
    for eqn in body.eqns:
        inside.update((variable, Var(variable.aval)) for variable in eqn.outvars)
        new = _renamed(eqn, inside)
        eqns.append(new.replace(outvars=[inside[variable] for variable in eqn.outvars]))
    results = (_name(atom, inside) for atom in body.outvars)
    names.update(zip(call.outvars, results, strict=True))
    return eqns


def _renamed(eqn: JaxprEqn, names: dict[Var, Any]) -> JaxprEqn:
    if not any(isinstance(atom, Var) and atom in names for atom in eqn.invars):
        return eqn
    return eqn.replace(invars=[_name(atom, names) for atom in eqn.invars])


def _name(atom: Any, names: dict[Var, Any]) -> Any:
    return atom if is_literal(atom) else names.get(atom, atom)
