"""What computes a variable, seen through the boundaries of compiled functions."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """A jaxpr in which variables are looked up, and who called it.

    Attributes:
      jaxpr: defines the variables.
      arguments: what the caller gave for each input; empty for the outermost jaxpr.
    """

    jaxpr: Jaxpr
    arguments: "dict[Var, Term]" = dataclasses.field(default_factory=dict)
    producers: dict[Var, JaxprEqn] = dataclasses.field(default_factory=dict)
    called: "dict[int, Scope]" = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for eqn in self.jaxpr.eqns:
            self.producers.update((variable, eqn) for variable in eqn.outvars)

    def consumers(self, variable: Var) -> list[JaxprEqn]:
        """The equations that read a variable."""
        return [eqn for eqn in self.jaxpr.eqns if any(atom is variable for atom in eqn.invars)]

    def enter(self, eqn: JaxprEqn) -> "Scope":
        """The scope of a jit equation's body, the same one each time."""
        if id(eqn) not in self.called:
            body = eqn.params["jaxpr"].jaxpr
            given = (Term(atom, self) for atom in eqn.invars)
            self.called[id(eqn)] = Scope(body, dict(zip(body.invars, given, strict=True)))
        return self.called[id(eqn)]


@dataclasses.dataclass(frozen=True)
class Term:
    """A variable or literal of one scope."""

    atom: Any
    scope: Scope

    @property
    def origin(self) -> "Term":
        """The term that computes this one's value: out of callers, into compiled functions."""
        term = self
        while isinstance(term.atom, Var):
            if term.atom in term.scope.arguments:
                term = term.scope.arguments[term.atom]
                continue
            eqn = term.scope.producers.get(term.atom)
            if eqn is None or eqn.primitive.name not in ("jit", "pjit"):
                break
            inside = term.scope.enter(eqn)
            term = Term(inside.jaxpr.outvars[eqn.outvars.index(term.atom)], inside)
        return term

    @property
    def equation(self) -> JaxprEqn | None:
        """The equation whose result this is, None for inputs, constants and literals."""
        origin = self.origin
        return None if isinstance(origin.atom, Literal) else origin.scope.producers.get(origin.atom)

    def operands(self, *primitives: str) -> "tuple[Term, ...] | None":
        """What the term is computed from, if one of the primitives computes it."""
        eqn = self.equation
        if eqn is None or eqn.primitive.name not in primitives:
            return None
        scope = self.origin.scope
        return tuple(Term(atom, scope) for atom in eqn.invars)

    def is_number(self, value: float | int) -> bool:
        """Whether this is that number, of any dtype, repeated over any shape."""
        term = self
        while copied := term.operands("broadcast_in_dim", "convert_element_type", "copy"):
            term = copied[0]
        atom = term.origin.atom
        return isinstance(atom, Literal) and not jnp.shape(atom.val) and bool(atom.val == value)

    def same(self, other: "Term") -> bool:
        """Whether two terms are one value."""
        mine, theirs = self.origin, other.origin
        return mine.atom is theirs.atom and mine.scope is theirs.scope

    def seen_from(self, scope: Scope) -> Any:
        """The atom of `scope` that has this value; None if it is computed further inside."""
        term = self
        while term.scope is not scope:
            if isinstance(term.atom, Literal):
                return term.atom
            if term.atom not in term.scope.arguments:
                return None
            term = term.scope.arguments[term.atom]
        return term.atom
