"""The way from a call to its program, when such a call has been made before.

It is all the Python that a call outside `jit` runs, so it is written for few steps: a call is told
by the types of its arguments, then by the structure of a tree or by values that are no arrays.
"""

import operator
from typing import Any

import jax

from ._program import Program

# Types of arrays that have been met; tracers are of other types.
ARRAYS: set[type] = set()
# Values that are told apart by type and by `==`; but for zeros, see below.
_PLAIN = frozenset([bool, int, float, str, bytes, type(None)])
_flatten = jax.tree_util.default_registry.flatten
Found = tuple[Program | None, Any]


class _Trees:
    """Programs for arguments of which some are trees, by their structure."""

    def __init__(self) -> None:
        self.programs: dict[Any, Program] = {}

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        arrays, tree = _flatten((args, kwargs))
        if not ARRAYS.issuperset(map(type, arrays)):
            return None, ()
        try:
            return self.programs.get(tree), arrays
        except TypeError:  # what is static in it cannot be hashed
            return None, ()


class _Values:
    """Programs for arguments of which some are no arrays, by the values of those."""

    def __init__(self, kinds: list[type]):
        self._arrays = [index for index, kind in enumerate(kinds) if kind in ARRAYS]
        others = [index for index, kind in enumerate(kinds) if kind not in ARRAYS]
        self.others = operator.itemgetter(*others) if others else len
        self.programs: dict[Any, Program] = {}

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        values = (*args, *kwargs.values()) if kwargs else args
        return self.programs.get(self.others(values)), [values[index] for index in self._arrays]


class Quick:
    """Finds the programs of one function.

    Attributes:
      of_arrays: programs for positional arrays and nothing else, by their number.
    """

    def __init__(self) -> None:
        self.of_arrays: dict[int, Program] = {}
        # By the types of positional arguments, then the names and the types of the others.
        self._of_kinds: dict[tuple[Any, ...], _Trees | _Values] = {}

    def forget(self) -> None:
        self.of_arrays.clear()
        self._of_kinds.clear()

    def learn(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes the program of a call without objects of NNX and without tracers."""
        values = (*args, *kwargs.values())
        kinds = list(map(type, values))
        if not kwargs and ARRAYS.issuperset(kinds):
            self.of_arrays[len(args)] = program
            return
        plain = ARRAYS.union(_PLAIN).issuperset(kinds)
        new = _Values(kinds) if plain else _Trees()
        known = self._of_kinds.setdefault(_kinds(args, kwargs), new)
        if isinstance(known, _Trees):
            leaves, tree = _flatten((args, kwargs))
            if ARRAYS.issuperset(map(type, leaves)):
                known.programs[tree] = program
        # 0.0 == -0.0, and so the two could be taken for each other.
        elif all(type(x) is not float or x != 0 for x in values):
            known.programs[known.others(values)] = program

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Found:
        """The program of a call that has more than positional arrays, and what to give it."""
        known = self._of_kinds.get(_kinds(args, kwargs))
        return (None, ()) if known is None else known.find(args, kwargs)


def _kinds(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    return (*map(type, args), *kwargs, *map(type, kwargs.values()))
