"""Every public name under JAX's own switches, beside its numbers without them.

A program, run by test_switches.py in a process of its own:

    python -m tests.switches [CASE ...]

It prints what a switch refuses or changes, and the public names that no case reaches.
"""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.public_cases import CASES, NOTED, WARNINGS, public_names


@contextlib.contextmanager
def unfiltered_tracebacks() -> Iterator[None]:
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        yield
    finally:
        jax.config.update("jax_traceback_filtering", before)


Switch = Callable[[], AbstractContextManager[Any]]
# Switches of a group are tried together: what one refuses it refuses beside the others too.
GROUPS: dict[str, dict[str, Switch]] = {
    "compiled": {
        "JAX_ENABLE_X64": lambda: jax.enable_x64(True),
        "JAX_NUMPY_RANK_PROMOTION=raise": lambda: jax.numpy_rank_promotion("raise"),
        "JAX_NUMPY_DTYPE_PROMOTION=strict": lambda: jax.numpy_dtype_promotion("strict"),
        "JAX_TRACEBACK_FILTERING=off": unfiltered_tracebacks,
        "JAX_CHECK_TRACER_LEAKS": jax.checking_leaks,
        "JAX_DEBUG_NANS": lambda: jax.debug_nans(True),
        "JAX_DEBUG_INFS": lambda: jax.debug_infs(True),
    },
    # Every intermediate array is looked at. (JAX_DEBUG_INFS stops inside of jnp.frexp.)
    "step by step": {
        "JAX_DISABLE_JIT": lambda: jax.disable_jit(True),
        "JAX_DEBUG_NANS": lambda: jax.debug_nans(True),
    },
}
# They iterate for 5 to 10 seconds each; they are tried if they are named.
LEFT_OUT = {
    "step by step": {
        "theory.mean_field", "theory.mean_field: slopes", "theory.jacobian_density",
        "initializers.critical", "initializers.orthogonal_gain",
    }
}  # fmt: skip

# Results may differ by this, in units in the last place of the largest element.
ULP = 2
# A compiled program contracts products and sums, and adds in an order of its own, so that sums
# differ from those of the group "step by step": in gradients of modules, and in fits and branches,
# whose iterations end anywhere within a tolerance.
ULP_OF_SUMS = 32
SUMS = ("nn.", "probe.value_and_grad", "calibration.fit_platt", "dynamics.continuation")


def allowed(name: str, group: str) -> int:
    return ULP_OF_SUMS if group == "step by step" and name.startswith(SUMS) else ULP


def differences(found: Any, plain: Any, ulps: int) -> Iterator[str]:
    """Where two results are not the same to so many units in the last place."""
    if jax.tree.structure(found) != jax.tree.structure(plain):
        yield f"is {jax.tree.structure(found)}, not {jax.tree.structure(plain)}"
        return
    leaves = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(plain), strict=True)
    for (path, here), there in leaves:
        here, there = np.asarray(here), np.asarray(there)
        where = jax.tree_util.keystr(path)
        if here.shape != there.shape:
            yield f"{where} has shape {here.shape}, not {there.shape}"
        elif not jnp.issubdtype(there.dtype, jnp.inexact):
            if not np.array_equal(here, there):
                yield f"{where} is {here}, not {there}"
        elif (off := off_by(here, there)) > ulps:
            yield f"{where} is {off:.3g} ulp off"


def off_by(found: np.ndarray, plain: np.ndarray) -> float:
    """In units in the last place of the largest element; infinite where only one is finite."""
    form = jnp.finfo(plain.dtype)
    kind = np.complex128 if np.iscomplexobj(plain) else np.float64
    found, plain = found.astype(kind), plain.astype(kind)
    largest = np.max(np.abs(plain), where=np.isfinite(plain), initial=float(form.tiny))
    ulp = float(form.eps) * 2.0 ** np.floor(np.log2(largest))
    same = (found == plain) | (np.isnan(found) & np.isnan(plain))
    with np.errstate(invalid="ignore"):
        off = np.abs(found - plain) / ulp
    return float(np.max(np.where(same, 0, np.where(np.isnan(off), np.inf, off)), initial=0))


def tried(case: Callable[[], Any], switches: Iterable[Switch]) -> Any:
    """The result of a case under switches, or the error."""
    with contextlib.ExitStack() as stack:
        for switch in switches:
            stack.enter_context(switch())
        try:
            return case()
        except Exception as error:
            return error


def complaints(name: str, plain: Any, group: str) -> Iterator[str]:
    switches = GROUPS[group]
    together = tried(CASES[name], switches.values())
    if not isinstance(together, Exception):
        yield from differences(together, plain, allowed(name, group))
        return
    alone = {switch: tried(CASES[name], [enter]) for switch, enter in switches.items()}
    refused = {switch: error for switch, error in alone.items() if isinstance(error, Exception)}
    for switch, error in (refused or {" and ".join(switches): together}).items():
        yield f"{switch}: {type(error).__name__}: {str(error).splitlines()[0][:200]}"


def types_in(result: Any) -> set[type]:
    """The types of all tuples, dataclasses and modules in a result."""
    seen: set[type] = set()

    def look(node: Any) -> bool:
        seen.add(type(node))
        return False

    jax.tree.leaves(result, is_leaf=look)
    return seen


def main(names: Sequence[str]) -> None:
    """Tries the cases, all of them if none is named."""
    plain = {name: CASES[name]() for name in names or CASES}
    for group in GROUPS:
        for name in names or [n for n in CASES if n not in LEFT_OUT.get(group, set())]:
            gc.freeze()  # checking for leaks collects garbage at every trace
            for complaint in complaints(name, plain[name], group):
                print(f"{name}, {group}: {complaint}")
    if not names:
        tried_names = {name.partition(":")[0] for name in CASES}
        types = NOTED | types_in(list(plain.values()))
        for name, value in public_names().items():
            if name not in tried_names and value not in types and value not in WARNINGS:
                print(f"{name}: there is no case of it")
    print(f"{len(plain)} cases", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
