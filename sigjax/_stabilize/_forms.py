"""The forms in which JAX code writes sigmoids, and what stands for them.

Each form looks at the term that an equation computes and, if it is one, names the function of
`sigjax.functional` that computes the same value and the terms that are its arguments.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn

from .. import functional
from .._jaxpr import equations, is_from_jax, source
from ._expressions import Call, Expression, Function, Join, Steps
from ._layout import is_cast, is_move, join_operands
from ._terms import Move, Term

Match = tuple[Function, tuple[Term, ...]]
Form = Callable[[Term], Match | None]
Step = tuple[JaxprEqn, tuple[Term, ...]]

_OWN_CODE = tuple(str(Path(file).parent) for file in (functional.__file__, __file__))

# Without their own `jit`: the replacement as a whole is compiled once.
sigmoid: Function = inspect.unwrap(functional.sigmoid)
silu: Function = inspect.unwrap(functional.silu)
softplus: Function = inspect.unwrap(functional.softplus)
log_sigmoid: Function = inspect.unwrap(functional.log_sigmoid)
log1m_sigmoid: Function = inspect.unwrap(functional.log1m_sigmoid)
logaddexp: Function = inspect.unwrap(functional.logaddexp)


def complement(x: Array) -> Array:
    """1 - sigmoid(x) without its cancellation."""
    return sigmoid(-x)


def sigmoid_of_difference(a: Array, b: Array) -> Array:
    """The derivative of log(exp(a) + exp(b)) with respect to a."""
    return sigmoid(a - b)


def recognise(term: Term) -> Expression | None:
    """The first form that the term has, or its branches have."""
    eqn = term.equation
    for form in () if eqn is None else _FORMS.get(eqn.primitive.name, ()):
        match = form(term)
        if match is not None:
            function, arguments = match
            real = all(jnp.issubdtype(x.atom.aval.dtype, jnp.floating) for x in arguments)
            return Call(function, arguments) if real else None
    return _joined(term)


def has_forms(eqn: JaxprEqn) -> bool:
    """Whether an operation is the last of some form."""
    return eqn.primitive.name in _FORMS


def is_own(eqn: JaxprEqn) -> bool:
    """Whether a function is sigjax's: nothing inside it is to be replaced."""
    return any(folder in source(eqn) for folder in _OWN_CODE)


def _either_order(operands: tuple[Term, ...] | None) -> Iterator[tuple[Term, Term]]:
    if operands is not None:
        first, second = operands
        yield first, second
        yield second, first


# What a term is made of. Each gives the argument, or None.


def _chain(term: Term | None, *primitives: str) -> Term | None:
    """x of f(g(x)), for primitives f and g of one operand, outermost first."""
    for primitive in primitives:
        operands = None if term is None else term.operands(primitive)
        term = operands[0] if operands else None
    return term


def _logistic_of(term: Term) -> Term | None:
    """x of logistic(x), and of sigjax.sigmoid(x)."""
    eqn = term.equation
    if eqn is None or eqn.primitive.name != "custom_jvp_call" or not is_own(eqn):
        return _chain(term, "logistic")
    inside = {inner.primitive.name for inner in equations(eqn.params["call_jaxpr"])}
    return term.inputs()[0] if inside - {"convert_element_type"} == {"logistic"} else None


def _one_plus_exp_of(term: Term) -> Term | None:
    for one, power in _either_order(term.operands("add", "add_any")):
        exponent = _chain(power, "exp")
        if one.is_number(1) and exponent is not None:
            return exponent
    return None


@dataclasses.dataclass(frozen=True)
class Gate:
    """sigmoid(x), or its complement 1 - sigmoid(x) = sigmoid(-x)."""

    x: Term
    complement: bool


def gate_of(term: Term) -> Gate | None:
    """The sigmoid that a term is, in whatever way it is written."""
    x = _logistic_of(term)
    if x is not None:
        return Gate(x, False)
    rest = one_minus(term)
    if rest is None:
        return _reciprocal_of(term)
    gate = gate_of(rest)
    return None if gate is None else Gate(gate.x, not gate.complement)


def _reciprocal_of(term: Term) -> Gate | None:
    above, below = term.operands("div") or (None, None)
    exponent = None if below is None else _one_plus_exp_of(below)
    if above is None or exponent is None:
        return None
    if above.is_number(1):
        x = _chain(exponent, "neg")
        return Gate(exponent, True) if x is None else Gate(x, False)
    x = _chain(above, "exp")
    return Gate(x, False) if x is not None and x.same(exponent) else None


def one_minus(term: Term) -> Term | None:
    """p of 1 - p and of -p + 1."""
    one, p = term.operands("sub") or (None, None)
    if one is not None and p is not None:
        return p if one.is_number(1) else None
    for one, negative in _either_order(term.operands("add", "add_any")):
        p = _chain(negative, "neg")
        if p is not None and one.is_number(1):
            return p
    return None


def _logaddexp_of(term: Term) -> tuple[Term, ...] | None:
    eqn = term.equation
    if eqn is None or eqn.primitive.name != "custom_jvp_call" or len(eqn.invars) != 2:
        return None
    return term.inputs() if is_from_jax(eqn, "logaddexp") else None


def _finite_part_of(term: Term) -> Term:
    """v of select(v == inf, 0, v), with which logaddexp's derivative guards its operands."""
    operands = term.operands("select_n")
    if operands and len(operands) == 3 and operands[2].is_number(0):
        condition = operands[0].operands("eq")
        if condition and condition[0].same(operands[1]) and condition[1].is_number(float("inf")):
            return operands[1]
    return term


# The forms.


def _sigmoid(term: Term) -> Match | None:
    x = _logistic_of(term)
    return None if x is None else (sigmoid, (x,))


def _silu(term: Term) -> Match | None:
    """x * logistic(x)"""
    for factor, gate in _either_order(term.operands("mul")):
        x = _logistic_of(gate)
        if x is not None and x.same(factor):
            return silu, (x,)
    return None


def _complement(term: Term) -> Match | None:
    """1 - sigmoid(x) where it is multiplied by sigmoid(x), or is a divisor.

    JAX's derivatives of the sigmoid and of its logarithm do that. Elsewhere it stays as it is: it
    is mostly added to numbers beside which the digits that it has lost do not count.
    """
    gate = None if one_minus(term) is None else gate_of(term)
    if gate is None or not _needs_digits(term, gate.x):
        return None
    return complement if gate.complement else sigmoid, (gate.x,)


def _needs_digits(term: Term, x: Term) -> bool:
    """Whether a chain of products that starts with the term has sigmoid(x) as a factor, or is
    divided by."""
    reached, seen = [(term, x)], set()
    while reached:
        term, x = reached.pop()
        for read, eqn in term.readers():
            if id(eqn) in seen:
                continue
            seen.add(id(eqn))
            name, result = eqn.primitive.name, Term(eqn.outvars[0], read.scope)
            if name == "div" and eqn.invars[1] is read.atom:
                return True
            if name == "mul":
                factors = (Term(atom, read.scope) for atom in eqn.invars if atom is not read.atom)
                if any(_has_gate_as_factor(factor, x) for factor in factors):
                    return True
            if is_move(eqn) and len(eqn.outvars) == 1:
                reached.append((result, x.moved(Move(eqn, read.scope, 0))))
            elif name == "mul" or is_cast(eqn) or join_operands(eqn):
                reached.append((result, x))
    return False


def _has_gate_as_factor(term: Term, x: Term) -> bool:
    gate = gate_of(term)
    if gate is not None and not gate.complement:
        return gate.x.same(x)
    return any(_has_gate_as_factor(factor, x) for factor in term.operands("mul") or ())


def _reciprocal(term: Term) -> Match | None:
    """1 / (1 + exp(t)) and exp(t) / (1 + exp(t))"""
    gate = _reciprocal_of(term)
    return None if gate is None else (complement if gate.complement else sigmoid, (gate.x,))


def _log_of_sigmoid(term: Term) -> Match | None:
    """log(sigmoid(x)), log(1 - sigmoid(x)), log(1 + exp(x))"""
    inside = _chain(term, "log")
    if inside is None:
        return None
    x = _one_plus_exp_of(inside)
    if x is not None:
        return softplus, (x,)
    gate = gate_of(inside)
    return None if gate is None else (log1m_sigmoid if gate.complement else log_sigmoid, (gate.x,))


def _log1p(term: Term) -> Match | None:
    """log1p(exp(x)) and log1p(-sigmoid(x))"""
    x = _chain(term, "log1p", "exp")
    if x is not None:
        return softplus, (x,)
    inside = _chain(term, "log1p", "neg")
    gate = None if inside is None else gate_of(inside)
    return None if gate is None else (log_sigmoid if gate.complement else log1m_sigmoid, (gate.x,))


def _positive_part_and_rest(term: Term) -> Match | None:
    """max(x, 0) + log1p(exp(-|x|))"""
    for part, rest in _either_order(term.operands("add", "add_any")):
        x = _chain(rest, "log1p", "exp", "neg", "abs")
        for known, zero in _either_order(part.operands("max")):
            if x is not None and zero.is_number(0) and known.same(x):
                return softplus, (x,)
    return None


def _logaddexp(term: Term) -> Match | None:
    """jax.numpy.logaddexp(a, b), which is softplus where one is 0"""
    pair = _logaddexp_of(term)
    if pair is None:
        return None
    for x, zero in _either_order(pair):
        if zero.is_number(0):
            return softplus, (x,)
    return logaddexp, pair


def _share_of_logaddexp(term: Term) -> Match | None:
    """exp(a - logaddexp(a, b)), the derivative that JAX gives logaddexp"""
    difference = _chain(term, "exp")
    operands = None if difference is None else difference.operands("sub")
    if operands is None:
        return None
    part, whole = (_finite_part_of(operand) for operand in operands)
    for a, b in _either_order(_logaddexp_of(whole)):
        if a.same(part) and not a.is_number(0):
            return (sigmoid, (a,)) if b.is_number(0) else (sigmoid_of_difference, (a, b))
    return None


_FORMS: dict[str, tuple[Form, ...]] = {
    "logistic": (_sigmoid,),
    "mul": (_silu,),
    "sub": (_complement,),
    "div": (_reciprocal,),
    "log": (_log_of_sigmoid,),
    "log1p": (_log1p,),
    "add": (_positive_part_and_rest, _complement),
    "add_any": (_positive_part_and_rest, _complement),
    "custom_jvp_call": (_logaddexp,),
    "exp": (_share_of_logaddexp,),
}

# Operations through which a join is found: of one operand, or of one and a number.
_STEPS = frozenset(["log", "log1p", "exp", "neg", "add", "add_any", "sub", "mul", "div"])


def _joined(term: Term) -> Expression | None:
    """A function of values that were laid side by side or chosen among, if some have a form."""
    steps: list[Step] = []
    here = term
    while True:
        here = here.origin
        eqn = here.produced_by
        if eqn is None:
            return None
        inside = here.inside_move()
        if inside is not None:
            if is_cast(eqn):
                steps.append((eqn, ()))
            here = inside
        elif eqn.primitive.name in _STEPS:
            operands = here.inputs()
            variables = [x for x in operands if x.number is None]
            if len(variables) != 1:
                return None
            steps.append((eqn, operands))
            (here,) = variables
        else:
            break
    places = [(here.scope, eqn, index) for index in join_operands(eqn)]
    branches = [Term(term.atom, term.scope, (), (*term.branches, place)) for place in places]
    found = [recognise(branch) for branch in branches]
    if not any(found):
        return None
    parts = [
        new or _as_it_was(here, index, tuple(steps[::-1]))
        for new, (_, _, index) in zip(found, places, strict=True)
    ]
    return Join(eqn, here.scope, tuple(parts), here.moves)


def _as_it_was(join: Term, index: int, steps: tuple[Step, ...]) -> Steps:
    """The operations on an operand of a join that has no form."""
    eqn = join.produced_by
    assert eqn is not None
    branch = join.scope.term(eqn.invars[index])
    if eqn.primitive.name != "select_n" or branch.number is not None:
        return Steps(branch, steps, None)
    return Steps(branch, steps, (join.scope.term(eqn.invars[0]), index - 1))
