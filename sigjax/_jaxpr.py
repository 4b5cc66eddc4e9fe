"""Traced programs: which jaxprs an equation runs, and whose code it was traced from.

What `_stabilize` and `probe` need to know of the version of JAX stands here: the names of
primitives that call jaxprs and of the parameters that hold these, whether jaxprs have one class or
two, and where tracebacks are kept.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    jaxprs_in_params,
    unsafe_am_i_under_a_jit_DO_NOT_USE,
)

JIT = ("jit", "pjit")
CHECKPOINT = ("remat2", "checkpoint")
CUSTOM_DERIVATIVE = ("custom_jvp_call", "custom_vjp_call")
# The parameters of an equation that hold the jaxprs it runs, for all primitives that can be
# entered: their jaxprs may be replaced by others of the same signature.
BODIES = {
    **dict.fromkeys((*JIT, *CHECKPOINT, "scan", "shard_map"), ("jaxpr",)),
    **dict.fromkeys(("closed_call", "core_call", *CUSTOM_DERIVATIVE), ("call_jaxpr",)),
    "while": ("cond_jaxpr", "body_jaxpr"),
    "cond": ("branches",),
}
_JAX_CODE = str(Path(jax.__file__).parent)


def open_jaxpr(jaxpr: Any) -> Jaxpr:
    """The jaxpr without its constants; since JAX 0.11 there is one class for both."""
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def bodies(eqn: JaxprEqn) -> tuple[Jaxpr, ...] | None:
    """The jaxprs that an equation runs: none for most, None where there is no way in."""
    names = BODIES.get(eqn.primitive.name)
    if names is None:
        return None if list(jaxprs_in_params(eqn.params)) else ()
    held = [eqn.params[name] for name in names]
    parts = [part for value in held for part in (value if isinstance(value, tuple) else (value,))]
    return tuple(open_jaxpr(part) for part in parts)


def equations(jaxpr: Any) -> Iterator[JaxprEqn]:
    """All equations of a jaxpr and of the jaxprs inside it, whether they can be entered or not."""
    for eqn in open_jaxpr(jaxpr).eqns:
        yield eqn
        for body in jaxprs_in_params(eqn.params):
            yield from equations(body)


def scan_groups(eqn: JaxprEqn, given: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """What a scan is given, as constants, carries and scanned inputs; jax tells them apart in two
    ways."""
    if "num_consts" in eqn.params:
        first = eqn.params["num_consts"]
        second = first + eqn.params["num_carry"]
    else:
        consts, carry, _ = eqn.params["ft_in"].update(list(range(len(given)))).unpack()
        first = len(list(consts))
        second = first + len(list(carry))
    return list(given[:first]), list(given[first:second]), list(given[second:])


def manual_axes(eqn: JaxprEqn) -> set[str]:
    """The axes of a mesh that a `shard_map` works on by hand."""
    params = eqn.params
    return set(
        params["newly_manual_axes"] if "newly_manual_axes" in params else params["manual_axes"]
    )


def varying_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """`x`, taken to differ along the axes of a mesh along which another array differs.

    Inside `shard_map` that makes a gradient with respect to `x` the sum over those axes.
    """
    axes = tuple(varying(jax.typeof(other)) - varying(jax.typeof(x)))
    return jax.lax.pcast(x, axes, to="varying") if axes else x


def is_spread(aval: Any) -> bool:
    """Whether a value is known to be sharded, on a mesh of explicit axes."""
    return any(axis is not None for axis in aval.sharding.spec)


def varying(aval: Any) -> frozenset[str]:
    """The axes of a mesh along which a value inside `shard_map` differs."""
    kind = getattr(aval, "manual_axis_type", None)  # older ones have the set itself
    return getattr(aval, "vma", frozenset()) if kind is None else kind.varying


def is_staged() -> bool:
    """Whether a program is being traced, by `jit` or a loop, and not only derivatives taken."""
    # JAX's name for it warns users that it cannot know of a `jit` applied later; here only the
    # present trace matters.
    return unsafe_am_i_under_a_jit_DO_NOT_USE()


def is_literal(atom: Any) -> bool:
    return isinstance(atom, Literal)


def source(eqn: JaxprEqn) -> str:
    """`NAME at FILE:LINE` of the function that a `jit` or custom derivative was traced from."""
    names = BODIES.get(eqn.primitive.name, ())
    if names not in (("jaxpr",), ("call_jaxpr",)):
        return ""
    return open_jaxpr(eqn.params[names[0]]).debug_info.func_src_info or ""


def is_from_jax(eqn: JaxprEqn, name: str) -> bool:
    """Whether an equation is a call of JAX's own function of that name."""
    where = source(eqn)
    return where.startswith(f"{name} at ") and _JAX_CODE in where


def users_line(eqn: JaxprEqn, *libraries: str) -> tuple[str, int, str] | None:
    """File, line and function of the innermost frame outside JAX and the given folders."""
    traceback: Any = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith((_JAX_CODE, *libraries)):
            return frame.file_name, frame.line_num, frame.function_name
    return None
