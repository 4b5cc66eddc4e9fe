"""What stands for a form: a function of terms, or several joined as their arguments were."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import JaxprEqn

from ._layout import chosen, join_operands
from ._terms import Move, Scope, Term

Function = Callable[..., Array]
Read = Callable[[Term], Array]
# A number at which every function of a form, and its derivative, is finite.
_HARMLESS = 0.5


class Expression(abc.ABC):
    """A value that can be computed from terms."""

    @abc.abstractmethod
    def terms(self) -> Iterator[Term]:
        """What is read."""

    @abc.abstractmethod
    def value(self, read: Read, dtype: Any) -> Array:
        """The value in a dtype, given the values of the terms."""


@dataclasses.dataclass(frozen=True)
class Call(Expression):
    """A function of terms, computed in the widest format among them and the result."""

    function: Function
    arguments: tuple[Term, ...]

    def is_plain(self, dtype: Any) -> bool:
        """Whether it is the function of the arguments as they stand."""
        return all(not x.moves and x.atom.aval.dtype == dtype for x in self.arguments)

    def terms(self) -> Iterator[Term]:
        yield from self.arguments

    def value(self, read: Read, dtype: Any) -> Array:
        arguments = [read(term) for term in self.arguments]
        with jax.numpy_dtype_promotion("standard"):
            widest = functools.reduce(jnp.promote_types, (x.dtype for x in arguments), dtype)
        return _cast(self.function(*(_cast(x, widest) for x in arguments)), dtype)


@dataclasses.dataclass(frozen=True)
class Steps(Expression):
    """A branch that has no form, on which the same operations are done as before.

    Attributes:
      branch: what the operations begin with.
      steps: the operations in their order, with their operands, of which all but one are numbers.
      condition: where `select_n` takes the branch in some places only, its selector and the number
        of the branch. In the other places the operations are given a harmless number, at which
        their derivatives are finite.
    """

    branch: Term
    steps: tuple[tuple[JaxprEqn, tuple[Term, ...]], ...]
    condition: tuple[Term, int] | None

    def terms(self) -> Iterator[Term]:
        yield self.branch
        if self.condition is not None:
            yield self.condition[0]

    def value(self, read: Read, dtype: Any) -> Array:
        x = read(self.branch)
        if self.condition is not None:
            which, branch = self.condition
            here = jnp.broadcast_to(chosen(read(which), branch), x.shape)
            x = lax.select(here, x, lax.full_like(x, _HARMLESS))
        for eqn, operands in self.steps:
            if eqn.primitive.name == "convert_element_type":
                x = _cast(x, eqn.params["new_dtype"])
                continue
            numbers = (term.number for term in operands)
            given = [x if n is None else lax.full_like(x, n) for n in numbers]
            x = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
        return _cast(x, dtype)


@dataclasses.dataclass(frozen=True)
class Join(Expression):
    """Expressions put together by an operation, and moved afterwards."""

    eqn: JaxprEqn
    scope: Scope
    branches: tuple[Expression, ...]
    moves: tuple[Move, ...]

    def _others(self) -> tuple[Term, ...]:
        first, *_ = join_operands(self.eqn)
        return tuple(map(self.scope.term, self.eqn.invars[:first]))

    def terms(self) -> Iterator[Term]:
        yield from self._others()
        for branch in self.branches:
            yield from branch.terms()
        for move in self.moves:
            yield from move.others()

    def value(self, read: Read, dtype: Any) -> Array:
        parts = [branch.value(read, dtype) for branch in self.branches]
        params = self.eqn.primitive.get_bind_params(self.eqn.params)
        x = self.eqn.primitive.bind(*map(read, self._others()), *parts, **params)
        for move in self.moves:
            x = move.apply(x, [read(other) for other in move.others()])
        return x


def _cast(x: Array, dtype: Any) -> Array:
    return x if x.dtype == dtype else lax.convert_element_type(x, dtype)


def as_equation(
    expression: Expression, eqn: JaxprEqn, scope: Scope, known: dict[Hashable, JaxprEqn]
) -> JaxprEqn | None:
    """One call of a compiled function in place of an equation; None if the types differ.

    Args:
      expression: what the equation computes.
      eqn, scope: the equation, and where it is.
      known: calls that were traced before, to which new ones are added.
    """
    result: Any = eqn.outvars[0].aval
    if isinstance(expression, Call) and expression.is_plain(result.dtype):
        function, read = _compiled(expression.function), list(expression.arguments)
    else:
        function, read = _compiled_replacement(expression, result.dtype)
    atoms = [term.seen_from(scope) for term in read]
    avals = tuple(atom.aval for atom in atoms)
    key = (_signature(expression), result, avals, eqn.ctx)
    if key[0] is None or key not in known:
        # What is compiled is one equation, also where compiling was switched off.
        with eqn.ctx.manager, jax.disable_jit(False):
            (known[key],) = jax.make_jaxpr(function)(*avals).eqns
    call = known[key]
    aval: Any = call.outvars[0].aval
    if (aval.shape, aval.dtype) != (result.shape, result.dtype):
        return None
    return call.replace(invars=atoms, outvars=eqn.outvars, source_info=eqn.source_info, ctx=eqn.ctx)


def _signature(expression: Expression) -> Hashable:
    """What two calls that are traced to the same have in common; None if it is not compared."""
    if not isinstance(expression, Call):
        return None
    arguments = expression.arguments
    moves = [move for term in arguments for move in term.moves]
    if any(move.others() for move in moves):
        return None
    return (
        expression.function,
        # which arguments are the same
        tuple([other.atom is term.atom for term in arguments for other in arguments]),
        tuple(len(term.moves) for term in arguments),
        tuple((move.eqn.primitive, move.result, repr(move.eqn.params)) for move in moves),
    )


@functools.cache
def _compiled(function: Function) -> Function:
    return jax.jit(function)


def _compiled_replacement(expression: Expression, dtype: Any) -> tuple[Function, list[Term]]:
    """A function that moves, casts and joins what it is given, and the terms to give it."""
    read: dict[tuple[int, int], Term] = {}

    def note(term: Term) -> None:
        read.setdefault((id(term.atom), id(term.scope)), term)
        for move in term.moves:
            for other in move.others():
                note(other)

    for term in expression.terms():
        note(term)

    def stabilized(*values: Array) -> Array:
        given = dict(zip(read, values, strict=True))

        def value_of(term: Term) -> Array:
            x = jnp.asarray(given[id(term.atom), id(term.scope)])
            for move in term.moves:
                x = move.apply(x, [value_of(other) for other in move.others()])
            return x

        return expression.value(value_of, dtype)

    stabilized.__name__ = getattr(expression, "function", stabilized).__name__
    return jax.jit(stabilized), list(read.values())
