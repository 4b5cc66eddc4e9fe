"""The way from a call to its program, when such a call has been made before.

It is all the Python that a call outside `jit` runs, so it is written for few steps: a call is told
by the types of its arguments, or by the structure of a tree, and values that are no arrays.
"""

from typing import Any

import jax

from ._program import Program

# Types of arrays that have been met; tracers are of other types.
ARRAYS: set[type] = set()
# Values that are told apart by type and by `==`; but for zeros, see below.
_PLAIN = frozenset([bool, int, float, str, bytes, type(None)])
_CONTAINERS = frozenset([dict, list, tuple])
_flatten = jax.tree_util.default_registry.flatten


class Quick:
    """Finds the programs of one function.

    Attributes:
      of_arrays: programs for positional arrays and nothing else, by their types.
    """

    def __init__(self) -> None:
        self.of_arrays: dict[tuple[type, ...], Program] = {}
        self._of_values: dict[tuple[Any, ...], dict[tuple[Any, ...], Program]] = {}
        self._of_trees: dict[Any, Program] = {}

    def forget(self) -> None:
        self.of_arrays.clear()
        self._of_values.clear()
        self._of_trees.clear()

    def learn(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes the program of a call without objects of NNX and without tracers."""
        values = (*args, *kwargs.values())
        kinds = tuple(map(type, values))
        others = tuple(value for value in values if type(value) not in ARRAYS)
        if not _CONTAINERS.isdisjoint(kinds):
            leaves, tree = _flatten((args, kwargs))
            if ARRAYS.issuperset(map(type, leaves)):
                self._of_trees[tree] = program
        elif not others and not kwargs:
            self.of_arrays[kinds] = program
        # 0.0 == -0.0, and so the two could be taken for each other.
        elif all(type(x) in _PLAIN and (type(x) is not float or x != 0) for x in others):
            self._of_values.setdefault((*kinds, *kwargs), {})[others] = program

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, Any] | None:
        """The program of a call that has more than positional arrays, and what to give it."""
        values = (*args, *kwargs.values())
        kinds = list(map(type, values))
        if _CONTAINERS.isdisjoint(kinds):
            programs = self._of_values.get((*kinds, *kwargs))
            if programs is None:
                return None
            program = programs.get(tuple([x for x in values if type(x) not in ARRAYS]))
            arrays = [x for x in values if type(x) in ARRAYS]
        else:
            arrays, tree = _flatten((args, kwargs))
            if not ARRAYS.issuperset(map(type, arrays)):
                return None
            try:
                program = self._of_trees.get(tree)
            except TypeError:  # what is static in it cannot be hashed
                return None
        return None if program is None else (program, arrays)
