"""Equal layers, one after the other, as one scan over their stacked variables."""

from typing import Any

import jax
from flax import nnx
from jax import Array, lax


def through(stack: Any, hidden: Array) -> Array:
    """Calls the layers of a stack one after the other.

    Args:
      stack: a module whose variables hold those of all its layers along their first axis, as
        `flax.nnx.vmap` makes them.
      hidden: what the first layer is called with.

    Returns:
      What the last layer returns. Variables that the layers write (batch statistics, counters,
      what they sow) are written to the stack; if they write none, nothing is, and the stack may
      be closed over by any transformation.

    Raises:
      ValueError: if the variables are not of equally many layers.
    """
    graph, state = nnx.split(stack)
    _require_one_length(state)

    def step(hidden: Array, state: Any) -> tuple[Array, Any]:
        layer: Any = nnx.merge(graph, state, copy=True)
        before = _values(layer)
        hidden = layer(hidden)
        written = [
            (path, variable)
            for path, variable in nnx.to_flat_state(nnx.state(layer))
            if before.get(path) is not variable.get_value()
        ]
        return hidden, nnx.from_flat_state(written)

    # The layers may compute in a wider dtype than what comes before them.
    result = jax.eval_shape(
        lambda hidden, state: step(hidden, jax.tree.map(lambda leaf: leaf[0], state))[0],
        hidden,
        state,
    )
    hidden, written = lax.scan(step, hidden.astype(result.dtype), state)
    if written:
        nnx.update(stack, written)
    return hidden


def _values(layer: Any) -> dict[Any, Any]:
    return {path: variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(layer))}


def _require_one_length(state: Any) -> None:
    shapes = {
        ".".join(map(str, path)): leaf.shape
        for path, variable in nnx.to_flat_state(state)
        for leaf in jax.tree.leaves(variable)
    }
    if len({shape[:1] for shape in shapes.values()}) > 1:
        raise ValueError(
            "sigjax.nn.MLP: every variable of 'stack' must have the layers along its first axis, "
            f"as flax.nnx.vmap makes them, got {shapes}"
        )
