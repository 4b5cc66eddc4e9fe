"""Runs a cell over a sequence."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ..functional._messages import must
from ._cell import Cell, GatedCell, Steps, cast_like
from ._lengths import at_length, ends, flipped
from ._recurrence import Carry, Resets
from ._stepwise import ALL_CARRIED, States, stepwise

_must = functools.partial(must, of="sigjax.nn.RNN")


class RNN(nnx.RNN):
    """`flax.nnx.RNN` that knows the cells of `sigjax.nn`.

    A `GRUCell` or `LSTMCell` is run as one recurrence with a derivative of its own, whose reverse
    pass makes the gradient of the weights in one product, a `MinGRU` by a parallel scan. Any other
    cell, one derived from these, and one with a layer that is no plain `flax.nnx.Linear`, is called
    step by step, as Flax does. Flax's arguments and results, and more: lengths over any batch axes,
    resets, gates.

    The state is kept in float32 on the way, and returned in the dtype it was given in.

    Example:
      >>> import jax, sigjax.nn
      >>> from flax import nnx
      >>> rnn = RNN(sigjax.nn.GRUCell(3, 4, rngs=nnx.Rngs(0)))
      >>> outputs, gates = rnn(jax.numpy.ones((2, 5, 3)), return_gates=True)
      >>> outputs.shape, gates.update.shape
      ((2, 5, 4), (2, 5, 4))
    """

    def __call__(
        self,
        inputs: ArrayLike,
        *,
        initial_carry: Carry | None = None,
        seq_lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        return_gates: bool = False,
    ) -> Any:
        """Runs the cell.

        Args:
          inputs: `[..., time, features]`, or `[time, ..., features]` if time-major.
          initial_carry: the first state; the cell's own if None, 0 unless it was told otherwise.
          seq_lengths: integers `[...]`, where sequences are shorter than `time`. What lies beyond
            is put out, but the returned state is that of the last step within (the first state for
            a length of 0), and `reverse` leaves the padding at the end.
          resets: bool, `[..., time]`, or `[time, ...]` if time-major: true where a sequence of its
            own starts. Before such a step the state is the cell's own first state, whatever
            `initial_carry` was; with `reverse` it is so after the step, where the recurrence goes
            on to the sequence before. So nothing passes from one sequence to another in either
            direction.
          return_carry, time_major, reverse, keep_order: override what the constructor was told.
          rngs: for the first state, if the cell draws it.
          return_gates: whether to return the gates of every step.

        Returns:
          The outputs, time where the inputs have it; before them the last state, if asked for, in
          the dtype of the first; after them the gates, if asked for.

        Raises:
          TypeError: if gates are asked for and the cell has none.
          ValueError: if lengths or resets do not have the shape of the batch.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order
        cell: Any = self.cell
        if return_gates:
            _require_gates(cell)

        inputs = jnp.asarray(inputs)
        if isinstance(cell, Cell):
            cell.check_features("RNN", inputs)
        time_axis = 0 if time_major else inputs.ndim - 1 - cell.num_feature_axes
        x = jnp.moveaxis(inputs, time_axis, 0)
        batch = x.shape[1 : x.ndim - cell.num_feature_axes]
        lengths = None
        if seq_lengths is not None:
            lengths = _of_shape("seq_lengths", seq_lengths, batch)
        starts = None
        if resets is not None:
            shape = (x.shape[0], *batch) if time_major else (*batch, x.shape[0])
            starts = jnp.moveaxis(_of_shape("resets", resets, shape), 0 if time_major else -1, 0)

        def first_state() -> Carry:
            return cell.initialize_carry(x.shape[1:], self._stream(rngs))

        first = first_state() if initial_carry is None else initial_carry
        if reverse:
            x = flipped(x, lengths)
            starts = None if starts is None else flipped(ends(starts, lengths), lengths)
        steps = self._run(
            first,
            x,
            # Of random first states each reset has the same.
            None if starts is None else Resets(starts, first_state()),
            return_states=return_carry and lengths is not None,
            return_gates=return_gates,
        )
        last, outputs, states, gates = steps
        if states is not None and lengths is not None:
            last = at_length(jax.tree.map(jnp.asarray, first), states, lengths)
        if reverse and keep_order:
            outputs, gates = flipped((outputs, gates), lengths)
        outputs, gates = jax.tree.map(
            lambda array: jnp.moveaxis(array, 0, time_axis), (outputs, gates)
        )
        found = (cast_like(last, first),) if return_carry else ()
        found += (outputs, gates) if return_gates else (outputs,)
        return found if len(found) > 1 else outputs

    def _stream(self, rngs: nnx.Rngs | nnx.RngStream | None) -> nnx.RngStream | None:
        """Where the first state is drawn from, as Flax has it; untouched where it is 0."""
        stream = self.rngs if rngs is None else rngs
        if not isinstance(stream, nnx.Rngs):
            return stream
        draws = not isinstance(self.cell, Cell) or self.cell.carry_init is not None
        return stream.carry.fork() if draws else stream.carry

    def _run(
        self,
        first: Carry,
        x: Array,
        resets: Resets | None,
        *,
        return_states: bool,
        return_gates: bool,
    ) -> Steps:
        """The cell over all steps, time first, at once or one after the other."""
        cell: Any = self.cell
        own = States(self.state_axes, self.broadcast_rngs)

        def step(cell: Any, carry: Carry, x: Array) -> tuple[Carry, Any]:
            options = {"return_gates": True} if return_gates else {}
            carry, output, *gates = cell(carry, x, **options)
            return carry, (output, carry if return_states else None, gates[0] if gates else None)

        if not len(x):
            return _no_steps(step, cell, first, x)
        all_carried = self.state_axes == ALL_CARRIED
        if all_carried and _has_sequence_of_its_own(cell) and cell.runs_at_once():
            return cell.sequence(
                first,
                x,
                resets=resets,
                return_states=return_states,
                return_gates=return_gates,
                unroll=self.unroll,
            )
        if isinstance(cell, GatedCell):
            first = cell.widened(first, x)
            resets = resets and Resets(resets.at, cell.widened(resets.state, x))
        last, found = stepwise(step, cell, first, x, resets, own, self.unroll)
        return Steps(last, *found)


def _no_steps(step: Any, cell: nnx.RNNCellBase, first: Carry, x: Array) -> Steps:
    """Outputs of no step, of the shapes that one would have."""
    graph, state = nnx.split(cell)
    _, (output, _, gates) = jax.eval_shape(
        lambda first, x: step(nnx.merge(graph, state, copy=True), first, x),
        first,
        jax.ShapeDtypeStruct(x.shape[1:], x.dtype),
    )
    output, gates = jax.tree.map(lambda a: jnp.zeros((0, *a.shape), a.dtype), (output, gates))
    return Steps(first, output, None, gates)


def _of_shape(argument: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    if jnp.shape(value) != shape:
        raise ValueError(
            _must(
                argument,
                f"have shape {shape}, one for each "
                f"{'step' if argument == 'resets' else 'sequence'}",
                jnp.shape(value),
            )
        )
    return jnp.asarray(value)


def _require_gates(cell: nnx.RNNCellBase) -> None:
    """Raises TypeError unless a call of the cell returns gates if told so."""
    parameters = inspect.signature(type(cell).__call__).parameters.values()
    if not isinstance(cell, Cell) or not any(
        parameter.name == "return_gates" or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    ):
        raise TypeError(_must("return_gates", "come with a cell of sigjax.nn", type(cell).__name__))


def _has_sequence_of_its_own(cell: nnx.RNNCellBase) -> bool:
    """Whether `sequence` and `__call__` are of one class: a subclass may change a step alone."""

    def owner(name: str) -> type | None:
        return next((c for c in type(cell).__mro__ if name in vars(c)), None)

    return isinstance(cell, Cell) and owner("sequence") is owner("__call__")
