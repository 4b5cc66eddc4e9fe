"""Programs of losses, kept while nothing that they were made of changes."""

import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import jax

from .._reach import Reach, Unknown
from ._call import Call
from ._program import Program

# The oldest of more is dropped.
_KEPT = 16


class _Kept:
    """A program, and what has to hold for it to be used again.

    Attributes:
      program: the program.
      call: the call that it was made for, which knows what the loss returned.
      unchanged: asked with the loss function.
    """

    def __init__(self, program: Program, call: Call, unchanged: Callable[[Any], bool]):
        self.program, self.call, self.unchanged = program, call, unchanged


_of_functions: "weakref.WeakKeyDictionary[Any, dict[Hashable, _Kept]]"
_of_functions = weakref.WeakKeyDictionary()


def program_of(call: Call, loss_fn: Callable[..., Any], per_step: bool, gradients: bool) -> Program:
    """The program of a call: a kept one if it would be made the same, else a new one."""
    arrays = (*call.parameters, *call.others)
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return _made(call, per_step, gradients)
    owner = _owner(loss_fn)
    key = (call.key, per_step, gradients)
    try:
        known = _of_functions.setdefault(owner, {})
        kept = known.get(key)
    except TypeError:  # what cannot be hashed or referred to weakly is traced anew
        return _made(call, per_step, gradients)
    if kept is not None and kept.unchanged(loss_fn):
        call.outcome.take(kept.call.outcome)
        return kept.program
    unchanged = _condition(call, loss_fn)
    program = _made(call, per_step, gradients)
    if unchanged is not None and unchanged(loss_fn):  # tracing may have changed what it reads
        known[key] = _Kept(program, call, unchanged)
        if len(known) > _KEPT:
            del known[next(iter(known))]
    return program


def _owner(loss_fn: Any) -> Any:
    """What the programs of a function are kept with: a function that closes over nothing is the
    same each time it is defined, so its code will do."""
    plain = isinstance(loss_fn, types.FunctionType) and loss_fn.__closure__ is None
    return loss_fn.__code__ if plain else loss_fn


def _condition(call: Call, loss_fn: Callable[..., Any]) -> Callable[[Any], bool] | None:
    try:
        reach = Reach(loss_fn)
        call.reach(reach)
        return reach.check()
    except Unknown:
        return None


def _made(call: Call, per_step: bool, gradients: bool) -> Program:
    return Program(
        call.loss,
        call.parameters,
        call.names,
        call.others,
        call.batch,
        call.wanted,
        per_step,
        gradients,
    )
