"""The forms in which JAX code writes sigmoids, and what stands for them.

Each form looks at the term that an equation computes and, if it is one, names the function of
`sigjax.functional` that computes the same value and the terms that are its arguments.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from jax import Array
from jax.extend.core import JaxprEqn

from .. import functional
from ._terms import Term

Function = Callable[..., Array]
Match = tuple[Function, tuple[Term, ...]]
Form = Callable[[Term], Match | None]

_OWN_CODE = str(Path(functional.__file__).parent)
_JAX_CODE = str(Path(jax.__file__).parent)


def complement(x: Array) -> Array:
    """1 - sigmoid(x) without its cancellation."""
    return functional.sigmoid(-x)


def sigmoid_of_difference(a: Array, b: Array) -> Array:
    """The derivative of log(exp(a) + exp(b)) with respect to a."""
    return functional.sigmoid(a - b)


def recognise(term: Term) -> Match | None:
    """The first form that the term has."""
    for form in _FORMS.get(_primitive(term), ()):
        match = form(term)
        if match is not None:
            return match
    return None


def is_own(eqn: JaxprEqn) -> bool:
    """Whether a custom derivative is sigjax's: nothing inside it is to be replaced."""
    return _OWN_CODE in _source(eqn)


def _primitive(term: Term) -> str:
    eqn = term.scope.producers.get(term.atom)
    return "" if eqn is None else eqn.primitive.name


def _source(eqn: JaxprEqn) -> str:
    call = eqn.params.get("call_jaxpr")
    return "" if call is None else call.jaxpr.debug_info.func_src_info or ""


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
    return _chain(term, "logistic")


def _one_plus_exp_of(term: Term) -> Term | None:
    for one, power in _either_order(term.operands("add", "add_any")):
        exponent = _chain(power, "exp")
        if one.is_number(1) and exponent is not None:
            return exponent
    return None


def _logaddexp_of(term: Term) -> tuple[Term, Term] | None:
    eqn = term.equation
    if eqn is None or eqn.primitive.name != "custom_jvp_call" or len(eqn.invars) != 2:
        return None
    source = _source(eqn)
    if not (source.startswith("logaddexp at ") and _JAX_CODE in source):
        return None
    scope = term.origin.scope
    first, second = (Term(atom, scope) for atom in eqn.invars)
    return first, second


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
    return None if x is None else (functional.sigmoid, (x,))


def _silu(term: Term) -> Match | None:
    """x * logistic(x)"""
    for factor, gate in _either_order(term.operands("mul")):
        x = _logistic_of(gate)
        if x is not None and x.same(factor):
            return functional.silu, (x,)
    return None


def _complement_of(term: Term) -> Term | None:
    """x of 1 - logistic(x)."""
    one, gate = term.operands("sub") or (None, None)
    return _logistic_of(gate) if one is not None and gate is not None and one.is_number(1) else None


def _complement(term: Term) -> Match | None:
    """1 - logistic(x) where it is multiplied with logistic(x), as in JAX's derivative

    Elsewhere it stays: what it is added to seldom has room for the digits.
    """
    x = _complement_of(term)
    return (complement, (x,)) if x is not None and _meets_gate(term, x) else None


def _meets_gate(term: Term, x: Term) -> bool:
    """Whether a chain of products that starts with the term has logistic(x) as a factor."""
    for product in term.scope.consumers(term.atom):
        if product.primitive.name != "mul":
            continue
        factors = (Term(atom, term.scope) for atom in product.invars if atom is not term.atom)
        if any(_has_gate_as_factor(factor, x) for factor in factors):
            return True
        if _meets_gate(Term(product.outvars[0], term.scope), x):
            return True
    return False


def _has_gate_as_factor(term: Term, x: Term) -> bool:
    argument = _logistic_of(term)
    if argument is not None:
        return argument.same(x)
    return any(_has_gate_as_factor(factor, x) for factor in term.operands("mul") or ())


def _reciprocal(term: Term) -> Match | None:
    """1 / (1 + exp(t)) and exp(t) / (1 + exp(t))"""
    above, below = term.operands("div") or (None, None)
    if above is None or below is None:
        return None
    exponent = _one_plus_exp_of(below)
    if exponent is None:
        return None
    if above.is_number(1):
        x = _chain(exponent, "neg")
        return (complement, (exponent,)) if x is None else (functional.sigmoid, (x,))
    x = _chain(above, "exp")
    return (functional.sigmoid, (x,)) if x is not None and x.same(exponent) else None


def _log_of_sigmoid(term: Term) -> Match | None:
    """log(logistic(x)), log(1 - logistic(x)), log(1 + exp(x))"""
    inside = _chain(term, "log")
    if inside is None:
        return None
    x = _logistic_of(inside)
    if x is not None:
        return functional.log_sigmoid, (x,)
    x = _one_plus_exp_of(inside)
    if x is not None:
        return functional.softplus, (x,)
    x = _complement_of(inside)
    return None if x is None else (functional.log1m_sigmoid, (x,))


def _log1p(term: Term) -> Match | None:
    """log1p(exp(x)) and log1p(-logistic(x))"""
    x = _chain(term, "log1p", "exp")
    if x is not None:
        return functional.softplus, (x,)
    x = _chain(term, "log1p", "neg", "logistic")
    return None if x is None else (functional.log1m_sigmoid, (x,))


def _positive_part_and_rest(term: Term) -> Match | None:
    """max(x, 0) + log1p(exp(-|x|))"""
    for part, rest in _either_order(term.operands("add", "add_any")):
        x = _chain(rest, "log1p", "exp", "neg", "abs")
        for known, zero in _either_order(part.operands("max")):
            if x is not None and zero.is_number(0) and known.same(x):
                return functional.softplus, (x,)
    return None


def _logaddexp(term: Term) -> Match | None:
    """jax.numpy.logaddexp(a, b), which is softplus where one is 0"""
    pair = _logaddexp_of(term)
    if pair is None:
        return None
    for x, zero in _either_order(pair):
        if zero.is_number(0):
            return functional.softplus, (x,)
    return functional.logaddexp, pair


def _share_of_logaddexp(term: Term) -> Match | None:
    """exp(a - logaddexp(a, b)), the derivative that JAX gives logaddexp"""
    difference = _chain(term, "exp")
    operands = None if difference is None else difference.operands("sub")
    if operands is None:
        return None
    part, whole = (_finite_part_of(operand) for operand in operands)
    for a, b in _either_order(_logaddexp_of(whole)):
        if a.same(part) and not a.is_number(0):
            return (functional.sigmoid, (a,)) if b.is_number(0) else (sigmoid_of_difference, (a, b))
    return None


_FORMS: dict[str, tuple[Form, ...]] = {
    "logistic": (_sigmoid,),
    "mul": (_silu,),
    "sub": (_complement,),
    "div": (_reciprocal,),
    "log": (_log_of_sigmoid,),
    "log1p": (_log1p,),
    "add": (_positive_part_and_rest,),
    "add_any": (_positive_part_and_rest,),
    "custom_jvp_call": (_logaddexp,),
    "exp": (_share_of_logaddexp,),
}


@functools.cache
def compiled(function: Function) -> Function:
    """The function as one equation of a jaxpr."""
    return jax.jit(function)
