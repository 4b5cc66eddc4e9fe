"""Runs any cell over a sequence as `flax.nnx.RNN` does: it is called at every step."""

from collections.abc import Callable
from typing import Any, NamedTuple

from flax import nnx
from jax import Array

from ._mesh import settled
from ._recurrence import Carry, Resets, anew

Step = Callable[[Any, Carry, Array], tuple[Carry, Any]]


class States(NamedTuple):
    """What of the cell's own state changes with the steps, as `flax.nnx.RNN` has it.

    Attributes:
      axes: `state_axes`.
      broadcast_rngs: random streams that are the same at every step.
    """

    axes: Any
    broadcast_rngs: Any


ALL_CARRIED: Any = nnx.StateAxes({...: nnx.Carry})  # type: ignore[arg-type]  # Flax's default


def stepwise(
    step: Step,
    cell: nnx.RNNCellBase,
    first: Carry,
    x: Array,
    resets: Resets | None,
    states: States,
    unroll: int,
) -> tuple[Carry, Any]:
    """Runs `step(cell, state, input)` for each input, time first.

    Variables that the cell writes (counters, statistics) are written to it; if it writes none,
    nothing is, and it may be closed over by any transformation.

    Returns:
      The last state, and what the steps return beside it, stacked.
    """
    # A copy has variables of this very trace, as Flax's transformations want them.
    copy = nnx.clone(cell)
    before = {path: variable.get_value() for path, variable in _variables(copy)}

    def pure(carry: Carry, x: Array) -> tuple[Carry, Any]:
        return step(nnx.merge(graph, state, copy=True), carry, x)

    graph, state = nnx.split(copy)
    first = settled(first, lambda carry: pure(carry, x[0])[0], state, x)
    own = nnx.All(nnx.RngState, states.broadcast_rngs)

    @nnx.split_rngs(splits=1, only=states.broadcast_rngs, squeeze=True)
    @nnx.compat.scan(
        in_axes=(nnx.StateAxes({own: None, **states.axes}), nnx.Carry, 0),
        out_axes=(nnx.Carry, 0),
        unroll=unroll,
    )
    def scan(cell: Any, carry: Carry, given: tuple[Array, Array | None]) -> tuple[Carry, Any]:
        x, reset = given
        return step(cell, anew(reset, resets, carry), x)

    last, found = scan(copy, first, (x, None if resets is None else resets.at))
    written = [(path, v) for path, v in _variables(copy) if before[path] is not v.get_value()]
    if written:
        nnx.update(cell, nnx.from_flat_state(written))
    return last, found


def _variables(module: Any) -> Any:
    return nnx.to_flat_state(nnx.state(module))
