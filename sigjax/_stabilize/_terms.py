"""What computes a variable, seen through compiled functions and changes of layout."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Var

from .._jaxpr import CHECKPOINT, JIT, is_literal, open_jaxpr
from ._layout import is_cast, is_move


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """A jaxpr in which variables are looked up, and who called it.

    Attributes:
      jaxpr: defines the variables.
      caller: the scope of the call; None for the outermost jaxpr.
      call: the equation there that runs this jaxpr.
      producers: the equation that computes each variable.
      readers: the equations that read each variable.
      arguments: what the caller gave for each input.
      called: the scopes of the functions that are called, by the id of the call.
      exports: variables that are to be returned too, and their names in the caller's jaxpr.
    """

    jaxpr: Jaxpr
    caller: "Scope | None" = None
    call: JaxprEqn | None = None
    arguments: dict[Var, Any] = dataclasses.field(default_factory=dict)
    producers: dict[Var, JaxprEqn] = dataclasses.field(default_factory=dict)
    readers: dict[Var, list[JaxprEqn]] = dataclasses.field(default_factory=dict)
    called: "dict[int, Scope]" = dataclasses.field(default_factory=dict)
    exports: dict[Var, Var] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.call is not None:
            self.arguments.update(zip(self.jaxpr.invars, self.call.invars, strict=True))
        for eqn in self.jaxpr.eqns:
            self.producers.update((variable, eqn) for variable in eqn.outvars)
            for variable in {atom for atom in eqn.invars if isinstance(atom, Var)}:
                self.readers.setdefault(variable, []).append(eqn)

    def term(self, atom: Any) -> "Term":
        return Term(atom, self)

    def enter(self, eqn: JaxprEqn) -> "Scope":
        """The scope of the function that an equation calls, the same one each time."""
        if id(eqn) not in self.called:
            self.called[id(eqn)] = Scope(open_jaxpr(eqn.params["jaxpr"]), self, eqn)
        return self.called[id(eqn)]

    def export(self, variable: Var) -> Var:
        """The caller's variable for one that is computed here."""
        if variable not in self.exports:
            self.exports[variable] = Var(variable.aval)
        return self.exports[variable]

    def extended(self) -> Jaxpr:
        """The jaxpr, whose calls and itself also return what is exported."""
        eqns = [self._extended_call(eqn) for eqn in self.jaxpr.eqns]
        if not self.exports and all(map(lambda a, b: a is b, eqns, self.jaxpr.eqns)):
            return self.jaxpr
        return self.jaxpr.replace(
            eqns=eqns,
            outvars=[*self.jaxpr.outvars, *self.exports],
            debug_info=self.jaxpr.debug_info._replace(result_paths=None),
        )

    def _extended_call(self, eqn: JaxprEqn) -> JaxprEqn:
        inside = self.called.get(id(eqn))
        if inside is None or (body := inside.extended()) is inside.jaxpr:
            return eqn
        old = eqn.params["jaxpr"]
        new = ClosedJaxpr(body, old.consts) if open_jaxpr(old) is not old else body
        params = {**eqn.params, "jaxpr": new}
        for name in ("out_shardings", "out_layouts"):
            if name in params:
                params[name] = (*params[name], *[_unspecified(name)] * len(inside.exports))
        return eqn.replace(params=params, outvars=[*eqn.outvars, *inside.exports.values()])


def _unspecified(name: str) -> Any:
    """What a result has for `out_shardings` and `out_layouts` of which nothing was said."""
    (call,) = jax.make_jaxpr(jax.jit(lambda x: x))(0.0).eqns
    return call.params[name][0]


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """An operation that moves the elements of its first operand.

    Attributes:
      eqn: the operation.
      scope: where its other operands, such as indices, are to be looked up.
      result: which of its results is meant.
    """

    eqn: JaxprEqn
    scope: Scope
    result: int

    def others(self) -> "tuple[Term, ...]":
        return tuple(self.scope.term(atom) for atom in self.eqn.invars[1:])

    def apply(self, x: Array, others: list[Array]) -> Array:
        results = self.eqn.primitive.bind(
            x, *others, **self.eqn.primitive.get_bind_params(self.eqn.params)
        )
        return results[self.result] if self.eqn.primitive.multiple_results else results

    def same(self, other: "Move") -> bool:
        """Whether both move elements in the same way."""
        if self.eqn is other.eqn:
            return self.scope is other.scope and self.result == other.result
        return (
            self.eqn.primitive is other.eqn.primitive
            and self.result == other.result
            and self.eqn.params == other.eqn.params
            and _shape(self.eqn.invars[0]) == _shape(other.eqn.invars[0])
            and all(map(lambda a, b: a.same(b), self.others(), other.others()))
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """A variable or literal of one scope, and how its elements are moved.

    Attributes:
      atom: the variable or literal.
      scope: where it is defined.
      moves: what happens to its elements afterwards, in this order.
      branches: which operand is meant of each operation that joins several.
    """

    atom: Any
    scope: Scope
    moves: tuple[Move, ...] = ()
    branches: tuple[tuple[Scope, JaxprEqn, int], ...] = ()

    def _at(self, atom: Any, scope: Scope, *moves: Move) -> "Term":
        return Term(atom, scope, (*moves, *self.moves), self.branches)

    @property
    def origin(self) -> "Term":
        """The same value where it is computed: out into callers, into compiled functions."""
        term = self
        while isinstance(term.atom, Var):
            if term.scope.caller is not None and term.atom in term.scope.arguments:
                term = term._at(term.scope.arguments[term.atom], term.scope.caller)
                continue
            eqn = term.scope.producers.get(term.atom)
            if eqn is None or eqn.primitive.name not in (*JIT, *CHECKPOINT):
                break
            inside = term.scope.enter(eqn)
            term = term._at(inside.jaxpr.outvars[eqn.outvars.index(term.atom)], inside)
        return term

    def inside_move(self) -> "Term | None":
        """What is moved, cast or taken as a branch by the operation that this comes from."""
        term = self.origin
        eqn = term.produced_by
        if eqn is None:
            return None
        for scope, join, branch in self.branches:
            if scope is term.scope and join is eqn:
                # The moves noted so far apply to the joined result: the branch starts with none.
                return Term(eqn.invars[branch], scope, (), self.branches)
        if is_cast(eqn):
            return term._at(eqn.invars[0], term.scope)
        if is_move(eqn):
            move = Move(eqn, term.scope, eqn.outvars.index(term.atom))
            return term._at(eqn.invars[0], term.scope, move)
        return None

    @property
    def source(self) -> "Term":
        """The term that was computed, before its elements were moved and cast."""
        term = self.origin
        while (inside := term.inside_move()) is not None:
            term = inside.origin
        return term

    @property
    def produced_by(self) -> JaxprEqn | None:
        """The equation whose result the atom is, None for inputs, constants and literals."""
        return None if is_literal(self.atom) else self.scope.producers.get(self.atom)

    @property
    def equation(self) -> JaxprEqn | None:
        """The equation that computed the term's source."""
        return self.source.produced_by

    def inputs(self) -> "tuple[Term, ...]":
        """What the term's source is computed from, moved as the term is."""
        source = self.source
        eqn = source.produced_by
        if eqn is None:
            return ()
        # A scalar among arrays is the same for all elements, wherever they are moved.
        scalar = Term(None, source.scope, (), source.branches)
        whole = [_shape(atom) == _shape(source.atom) for atom in eqn.invars]
        return tuple(
            (source if moved else scalar)._at(atom, source.scope)
            for atom, moved in zip(eqn.invars, whole, strict=True)
        )

    def operands(self, *primitives: str) -> "tuple[Term, ...] | None":
        """The inputs, if one of the primitives computes the term."""
        eqn = self.equation
        return None if eqn is None or eqn.primitive.name not in primitives else self.inputs()

    @property
    def number(self) -> Any:
        """The number that this is, of any dtype and repeated over any shape; None if none."""
        term = Term(self.atom, self.scope, (), self.branches).source
        while copied := term.operands("convert_element_type"):
            term = copied[0].source
        if not is_literal(term.atom) or jnp.shape(term.atom.val):
            return None
        # An index out of bounds makes something else of it.
        indexed = any(move.eqn.primitive.name == "gather" for move in term.moves)
        return None if indexed else term.atom.val

    def is_number(self, value: float | int) -> bool:
        return self.number is not None and bool(self.number == value)

    def readers(self) -> "Iterator[tuple[Term, JaxprEqn]]":
        """The equations that read the atom, each with the term that stands for it there.

        They are looked for inside the compiled functions that are given the atom, and in the
        callers to which it is returned.
        """
        for eqn in self.scope.readers.get(self.atom, ()):
            if eqn.primitive.name in (*JIT, *CHECKPOINT):
                inside = self.scope.enter(eqn)
                for given, variable in zip(eqn.invars, inside.jaxpr.invars, strict=True):
                    if given is self.atom:
                        yield from Term(variable, inside).readers()
            else:
                yield self, eqn
        call, caller = self.scope.call, self.scope.caller
        if call is not None and caller is not None:
            for inner, outer in zip(self.scope.jaxpr.outvars, call.outvars, strict=True):
                if inner is self.atom:
                    yield from Term(outer, caller).readers()

    def moved(self, move: Move) -> "Term":
        return Term(self.atom, self.scope, (*self.moves, move), self.branches)

    def same(self, other: "Term") -> bool:
        """Whether two terms are one value, but for a cast."""
        mine, theirs = self.source, other.source
        return (
            mine.atom is theirs.atom
            and mine.scope is theirs.scope
            and len(mine.moves) == len(theirs.moves)
            and all(map(Move.same, mine.moves, theirs.moves))
        )

    def seen_from(self, scope: Scope) -> Any:
        """The atom of `scope`, a caller or the same, that has this value before it is moved."""
        atom, where = self.atom, self.scope
        while where is not scope and not is_literal(atom):
            assert where.caller is not None
            atom = where.arguments[atom] if atom in where.arguments else where.export(atom)
            where = where.caller
        return atom


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape
