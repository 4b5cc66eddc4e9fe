"""Names of what a pytree holds, as a reader writes them."""

from typing import Any

import jax


def names_of(tree: Any, of_variables: bool = False) -> list[str]:
    """Such as "blocks.0.linear.kernel", in the order of the leaves.

    Args:
      tree: the pytree.
      of_variables: whether the arrays are in variables of Flax, whose attribute is no part of
        the name.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [".".join(_parts(path[:-1] if of_variables else path)) for path, _ in paths]


def _parts(path: Any) -> list[str]:
    return [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path]


def common(names: list[str]) -> str:
    """The longest path that all names begin with; "" if there is none."""
    parts = [name.split(".") for name in names]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return ".".join(shared)
