"""One compiled function of arrays, and what else its result holds."""

from collections.abc import Callable
from typing import Any

import jax

from ._evaluate import Parts


class Program:
    """A compiled function of arrays, until something changes.

    Attributes:
      check: called with the function: whether tracing it again would give the same program.
      unchanged: called before each use; the first time it also tells `Programs` of the use, later
        it is `check` itself.
      compiled: None while the program is compiled only if its call comes again.
    """

    __slots__ = ("check", "compiled", "unchanged")

    def __init__(self, check: Callable[[Any], bool], used: Callable[[], None]):
        self.check = check
        self.compiled: Any = None

        def unchanged(function: Any) -> bool:
            if not check(function):
                return False
            used()
            self.unchanged = check
            return True

        self.unchanged = unchanged


@jax.tree_util.register_pytree_node_class
class Mixed:
    """A result of which not all is arrays."""

    def __init__(self, computed: Any, rest: Parts):
        self.computed, self.rest = computed, rest

    def whole(self) -> Any:
        return self.rest.fill(self.computed)

    def tree_flatten(self) -> tuple[Any, Parts]:
        return self.computed, self.rest

    @classmethod
    def tree_unflatten(cls, rest: Parts, computed: Any) -> "Mixed":
        return cls(computed, rest)
