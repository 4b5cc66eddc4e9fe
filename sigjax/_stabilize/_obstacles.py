"""Logarithms of sigmoids that are seen and cannot be mended, and what to write instead."""

import warnings
from pathlib import Path

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from .._jaxpr import BODIES, bodies, users_line
from ._forms import gate_of, one_minus
from ._layout import join_operands
from ._terms import Scope, Term

_OWN_CODE = str(Path(__file__).parents[1])
# What moves or keeps elements, but cannot be moved past a function.
_OPAQUE = frozenset(
    [
        "gather",
        "pad",
        "dynamic_update_slice",
        "scatter",
        "optimization_barrier",
        "reduce_precision",
        "convert_element_type",
    ]
)
_CLIPS = frozenset(["max", "min", "clamp"])
# An offset of up to this is a guard against log(0); a larger one belongs to the model.
_LARGEST_GUARD = 0.01
# Where each warning was given, as `warnings` keeps it for a module.
_GIVEN: dict[str | tuple[str, type[Warning], int], int] = {}


class StabilizeWarning(UserWarning):
    """A sigmoid was recognised, and had to be left as it is."""


def warn_of_logarithm(eqn: JaxprEqn, scope: Scope) -> None:
    """Warns if an equation is the logarithm of a sigmoid behind something that stands between."""
    term = Term(eqn.outvars[0], scope)
    logarithm = term.operands("log")
    # log1p(-p) is the logarithm of a complement, log1p(p) is none of a sigmoid.
    complement = [x.operands("neg") for x in term.operands("log1p") or ()]
    inside = [x for operands in (logarithm, *complement) for x in operands or ()]
    obstacle = _obstacle(inside[0]) if inside else None
    if obstacle:
        warn(
            eqn,
            f"this logarithm of a sigmoid stays as it is, because of {obstacle} between the two. "
            "Write sigjax.log_sigmoid(x) for log(p), sigjax.log1m_sigmoid(x) for log(1 - p), or "
            "sigjax.losses.sigmoid_binary_cross_entropy: they need no guard",
        )


def warn(eqn: JaxprEqn, text: str) -> None:
    """Warns at the line of the user's code that an equation was traced from."""
    file, line, function = users_line(eqn, _OWN_CODE) or ("<unknown>", 0, "")
    warnings.warn_explicit(
        f"stabilize: {file}:{line} ({function}): {text}",
        StabilizeWarning,
        file,
        line,
        registry=_GIVEN,
    )


def _obstacle(term: Term) -> str | None:
    """What stands between a term and the sigmoid that it is made of: "" if nothing does, None if
    it is made of none."""
    if gate_of(term) is not None:
        return ""
    source = term.source
    eqn = source.produced_by
    if eqn is None:
        return None
    name, within, obstacle = eqn.primitive.name, source.inputs(), ""
    if name in BODIES:
        within, obstacle = _results(source, eqn), f"`{name}`, which computes it,"
    elif name in _OPAQUE:
        within, obstacle = within[:1], f"`{name}`"
    elif join_operands(eqn):
        within = tuple(within[index] for index in join_operands(eqn))
    elif name in _CLIPS:
        within = _unless_scalar(source, within)
        obstacle = f"a clip (`{name}`), which changes values by design,"
    elif name in ("add", "sub", "neg") and _is_guarded(source):
        within = _unless_scalar(source, within)
        if name != "neg" and one_minus(source) is None:
            obstacle = "an offset, which changes values by design,"
    else:
        return None
    found = [rest for rest in map(_obstacle, within) if rest is not None]
    return obstacle or found[0] if found else None


def _unless_scalar(term: Term, inputs: tuple[Term, ...]) -> tuple[Term, ...]:
    """The one input that is no number and no bound for all elements; none if there are more."""
    rank = jnp.ndim(term.atom.aval)
    found = tuple(x for x in inputs if x.number is None and jnp.ndim(x.atom.aval) == rank)
    return found if len(found) == 1 else ()


def _is_guarded(term: Term) -> bool:
    """Whether a sum is of something and a guard against log(0), or the rest to about 1."""
    subtracted = term.operands("sub") is not None
    return all(
        x.number is None
        or abs(x.number) <= _LARGEST_GUARD
        or (subtracted and index == 0 and abs(x.number - 1) <= _LARGEST_GUARD)
        for index, x in enumerate(term.inputs())
    )


def _results(term: Term, eqn: JaxprEqn) -> tuple[Term, ...]:
    """What a result of an equation is inside each of the jaxprs that it runs."""
    index = eqn.outvars.index(term.atom)
    inside = [body for body in bodies(eqn) or () if len(body.outvars) == len(eqn.outvars)]
    return tuple(Scope(body).term(body.outvars[index]) for body in inside)
