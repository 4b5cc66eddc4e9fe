"""Rewritten programs, kept from call to call while nothing that they were made of changes."""

import functools
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from .._jaxpr import is_staged
from .._reach import Reach, Unknown, content_of, is_constant
from ._evaluate import Parts, evaluate, take_apart
from ._program import Mixed, Program
from ._quick import ARRAYS, Quick

# While no program of a function is used a second time, only so many are compiled at their first
# call; after that, one is compiled when its call comes again. A number that differs at every call
# would otherwise compile at every call. Using a program again restarts the count.
_UNUSED = 8
# Of more, the one that has not been looked for longest is dropped.
_KEPT = 64


_NEW: Any = object()
# Calls a function with its arguments in the form in which a program takes them.
Adapter = Callable[..., Any]


class Programs:
    """The programs of one function.

    Attributes:
      quick: finds programs that have been used.
    """

    def __init__(self, function: Callable[..., Any]):
        weak = isinstance(function, types.FunctionType)
        self._function = weakref.ref(function) if weak else lambda: function
        self.quick = Quick()
        self._known: dict[Hashable, Program | None] = {}  # None: to be traced at every call
        self._unused = 0

    def call(
        self,
        adapter: Adapter,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reached: Callable[[Reach], None] = lambda reach: None,
    ) -> Any:
        """The result of the rewritten function, from a program where there can be one.

        Args:
          adapter: calls the function; hashable by what it does.
          args, kwargs: what the adapter is given besides the function.
          reached: adds to what can be reached what the adapter refers to.
        """
        function = self._function()
        arrays, parts = take_apart((args, kwargs))
        tracers = [array for array in arrays if isinstance(array, jax.core.Tracer)]
        key = (adapter, parts.tree, tuple(leaf and _identity(*leaf) for leaf in parts.fixed))
        staged = tracers and is_staged()
        program = None if staged else self._find(key, adapter, parts, reached)
        if program is None:
            computed, rest = evaluate(functools.partial(adapter, function), arrays, parts)
            return rest.fill(computed)
        result = program.compiled(*arrays)
        if type(result) is Mixed:
            result = result.whole()
        if not program.check(function):
            # It changes what it reaches while it is traced, so it is to be traced at every call.
            self._give_up(key)
        elif not tracers:
            ARRAYS.update(map(type, arrays))
            if adapter is plainly:
                self.quick.learn(program, args, kwargs)
        return result

    def _find(
        self, key: Hashable, adapter: Adapter, parts: Parts, reached: Callable[[Reach], None]
    ) -> Program | None:
        function = self._function()
        try:
            program = self._known.get(key, _NEW)
        except TypeError:  # something in the structure cannot be hashed
            return None
        if program is None:
            return None
        if program is not _NEW and program.unchanged(function):
            self._known[key] = self._known.pop(key)  # the newest now
            program.compiled = program.compiled or self._compile(key, adapter, parts)
            return program
        try:
            reach = Reach(function)
            reach.add_tree(parts.tree)
            for leaf in filter(None, parts.fixed):
                reach.add(*leaf)
            reached(reach)
            program = Program(reach.check(), self._note_use)
        except Unknown:
            self._give_up(key)
            return None
        self._known[key] = program
        if len(self._known) > _KEPT // 2:
            # Calls go through here once more, which makes their programs the newest; and what is
            # dropped is kept by no call.
            self.quick.forget()
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        self._unused += 1
        if self._unused > _UNUSED:
            return None
        program.compiled = self._compile(key, adapter, parts)
        return program

    def _note_use(self) -> None:
        self._unused = 0

    def _give_up(self, key: Hashable) -> None:
        self._known[key] = None
        self.quick.forget()

    def _compile(self, key: Hashable, adapter: Adapter, parts: Parts) -> Callable[..., Any]:
        parts = Parts(parts.tree, tuple(map(_copied, parts.fixed)))

        def program(*arrays: jax.Array) -> Any:
            function = functools.partial(adapter, self._function())
            computed, rest = evaluate(function, arrays, parts)
            fixed = [leaf[0] for leaf in rest.fixed if leaf is not None]
            if not all(map(is_constant, fixed)):
                self._give_up(key)
            return Mixed(computed, rest) if fixed else rest.fill(computed)

        program.__name__ = getattr(self._function(), "__name__", "stabilized")
        return jax.jit(program)


def plainly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _identity(value: Any) -> Hashable:
    if isinstance(value, np.ndarray | np.generic):
        return type(value), *content_of(np.asarray(value))
    if isinstance(value, float | complex):
        return type(value), repr(value)  # which tells 0.0 from -0.0
    return type(value), value if is_constant(value) else id(value)


def _copied(leaf: tuple[Any] | None) -> tuple[Any] | None:
    return (leaf[0].copy(),) if leaf is not None and isinstance(leaf[0], np.ndarray) else leaf
