"""Runs a cell over a sequence."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.recurrent import flip_sequences
from jax import Array
from jax.typing import ArrayLike

from ._cell import require_features
from ._recurrence import Carry


class RNN(nnx.RNN):
    """`flax.nnx.RNN` that knows the cells of `sigjax.nn`.

    A `GRUCell` or `LSTMCell` is run as one recurrence with a reverse pass of its own, a `MinGRU`
    by a parallel scan; any other cell, also one derived from these, is run as Flax runs it. It
    takes Flax's arguments. The results are those of `flax.nnx.RNN`; forward-mode derivatives
    (`jax.jvp`) of the recurrence need that one.

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
        seq_lengths: Array | None = None,
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
          initial_carry: the first state; the cell's own if None.
          seq_lengths: of each sequence, where they are shorter than `time`; what lies beyond is
            put out, but the returned state is that of the last step within, and `reverse` leaves
            the padding at the end.
          return_carry, time_major, reverse, keep_order: override what the constructor was told.
          rngs: for the first state.
          return_gates: whether to return the gates of every step.

        Returns:
          The outputs, time where the inputs have it; before them the last state, if asked for,
          and after them the gates, if asked for.

        Raises:
          TypeError: if gates are asked for and the cell has none.
        """
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order
        # The state after a shorter sequence is one from the middle: Flax's scan keeps them all.
        stepwise = return_carry and seq_lengths is not None
        if stepwise or not _has_sequence_of_its_own(self.cell):
            if return_gates:
                raise TypeError(
                    "sigjax.nn.RNN: argument 'return_gates' needs a cell of sigjax.nn, and not "
                    f"'seq_lengths' and 'return_carry' together; got {type(self.cell).__name__}"
                )
            return super().__call__(
                jnp.asarray(inputs),
                initial_carry=initial_carry,
                seq_lengths=seq_lengths,
                return_carry=return_carry,
                time_major=time_major,
                reverse=reverse,
                keep_order=keep_order,
                rngs=rngs,
            )
        inputs = jnp.asarray(inputs)
        cell: Any = self.cell  # Flax's base class declares neither of the two that ours add
        require_features("RNN", inputs, cell.in_features)
        time_axis = 0 if time_major else inputs.ndim - 2
        steps = jnp.moveaxis(inputs, time_axis, 0)

        def flip(sequence: Array) -> Array:
            return flip_sequences(sequence, seq_lengths, steps.ndim - 2, True)

        if reverse:
            steps = flip(steps)
        if initial_carry is None:
            stream = self.rngs if rngs is None else rngs
            stream = stream.carry.fork() if isinstance(stream, nnx.Rngs) else stream
            initial_carry = cell.initialize_carry(steps.shape[1:], stream)
        carry, outputs, gates = cell.sequence(
            initial_carry, steps, return_gates=return_gates, unroll=self.unroll
        )
        if reverse and keep_order:
            outputs, gates = jax.tree.map(flip, (outputs, gates))
        outputs, gates = jax.tree.map(
            lambda array: jnp.moveaxis(array, 0, time_axis), (outputs, gates)
        )
        found = (carry,) if return_carry else ()
        found += (outputs, gates) if return_gates else (outputs,)
        return found if len(found) > 1 else outputs


def _has_sequence_of_its_own(cell: nnx.RNNCellBase) -> bool:
    """Whether `sequence` and `__call__` are of one class: a subclass may change a step alone."""

    def owner(name: str) -> type | None:
        return next((c for c in type(cell).__mro__ if name in vars(c)), None)

    return hasattr(cell, "sequence") and owner("sequence") is owner("__call__")
